"""Messages in a doorbell queue that are not doorbells: a worker drops and counts them, and survives."""

from __future__ import annotations

import pytest
from kombu.transport import TRANSPORT_ALIASES

import dispatcher
from dispatcher import tracker
from dispatcher.tasks.celery import make_app
from tests.support.deliveries import LOG, SEGMENT
from tests.support.hostile_messages import doorbell, hostile_control, hostile_messages
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once
from tests.support.waiting import wait_for

# The remote control channel in Redis' first database, by kombu's name.
CONTROL = "/0.celery.pidbox"


@pytest.fixture(autouse=True)
def our_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSPORT_ALIASES, "redis", "dispatcher.tasks.transport:Transport")
    monkeypatch.setattr("kombu.transport._transport_cache", {})


def emit(number: int) -> None:
    """Emit one event, and wait until it is in the store with its doorbell."""
    tracker.emit("shop.order.paid", {"n": number})
    wait_for(lambda: dispatcher.flush(1), what="the event to be in the store")


def start_worker(site: Site, *words: str) -> Child:
    """A worker that takes remote control: under gevent it says that it is ready some time before."""
    worker = site.worker(*words, "-n", "one@test")
    wait_for(lambda: site.redis.call("PUBSUB", "NUMPAT") > 0, what=lambda: worker.output[-3000:])
    return worker


def test_the_collection_of_hostile_messages_is_large_enough() -> None:
    assert len(hostile_messages(LOG)) >= 75
    assert len(hostile_control()) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["threads", "prefork", "gevent"])
@pytest.mark.timeout(400)
def test_a_worker_survives_drops_and_counts_every_foreign_message(in_site: Site, pool: str) -> None:
    worker = start_worker(in_site, "-P", pool, "-c", "2")
    with make_app(in_site.settings()) as app:
        inspect = app.control.inspect(timeout=60, limit=1)
        pid = inspect.stats()["one@test"]["pid"]
        kinds = hostile_messages(LOG)
        if pool != "threads":
            kinds = dict(list(kinds.items())[::5])
        for number, (kind, text) in enumerate(kinds.items()):
            in_site.redis.call("LPUSH", LOG, text)
            emit(number)
            try:
                in_site.wait_for_lines(number + 1)
            except AssertionError as error:
                raise AssertionError(f"behind {kind}: {error}\n{worker.output[-3000:]}") from None
            assert worker.output.count(" ready.") == 1, f"{kind} ended the worker: {worker.output[-3000:]}"
        in_site.wait_until_delivered()
        facts = app.control.broadcast("dispatcher_worker", reply=True, timeout=60, limit=1)[0]["one@test"]
        assert facts["refused"] == {LOG: len(kinds)}
        assert inspect.stats()["one@test"]["pid"] == pid
        assert inspect.reserved() == {"one@test": []}
        assert inspect.active() == {"one@test": []}
    assert_each_once(in_site.log, len(kinds))
    assert worker.stop() == 0
    assert in_site.redis.call("LLEN", LOG) == 0


@pytest.mark.parametrize("pool", ["threads", "gevent"])
@pytest.mark.timeout(300)
def test_no_remote_control_message_ends_a_worker(in_site: Site, pool: str) -> None:
    worker = start_worker(in_site, "-P", pool, "-c", "2")
    with make_app(in_site.settings()) as app:
        inspect = app.control.inspect(timeout=60, limit=1)
        for kind, text in hostile_control().items():
            assert in_site.redis.call("PUBLISH", CONTROL, text) == 1, kind
            assert inspect.ping() == {"one@test": {"ok": "pong"}}, f"{kind}: {worker.output[-3000:]}"
            assert worker.output.count(" ready.") == 1, f"{kind} ended the worker: {worker.output[-3000:]}"
        facts = app.control.broadcast("dispatcher_worker", reply=True, timeout=60, limit=1)[0]["one@test"]
        assert facts["refused"] == {"celery.pidbox": len(hostile_control())}
    emit(0)
    in_site.wait_for_lines(1)
    assert worker.stop() == 0


def test_doorbells_from_any_celery_are_taken(in_site: Site) -> None:
    worker = start_worker(in_site)
    emit(0)
    in_site.wait_until_delivered()
    with make_app(in_site.settings()) as app:
        for task, queue in ((f"tasks.{LOG}.deliver", LOG), (f"tasks.{SEGMENT}.deliver", SEGMENT)):
            app.send_task(task, args=["7-a-0"], queue=queue, task_id="an-id-of-its-own", retries=3)
        wait_for(lambda: worker.output.count("nothing to do: the batch is ") == 2, what=lambda: worker.output)
        facts = app.control.broadcast("dispatcher_worker", reply=True, timeout=60, limit=1)[0]["one@test"]
    assert facts["refused"] == {}
    assert worker.stop() == 0


@pytest.mark.parametrize("place", ["before it starts", "while it runs"])
def test_a_queue_of_the_wrong_redis_type_does_not_block_other_queues(in_site: Site, place: str) -> None:
    redis = in_site.redis
    if place == "before it starts":
        redis.call("SET", LOG, "somebody's")
    worker = start_worker(in_site)
    redis.call("SET", LOG, "somebody's")
    emit(0)
    wait_for(lambda: in_site.counts(SEGMENT).delivered == 1, what=lambda: worker.output[-3000:])
    worker.wait_for_output(f"the key {LOG} holds something other than a list")
    assert in_site.counts(LOG).delivered == 0
    redis.call("DEL", LOG)
    in_site.wait_for_lines(1)
    assert worker.output.count(" ready.") == 1
    assert worker.output.count(f"the key {LOG} holds something other than a list") < 5
    assert worker.stop() == 0


def test_refused_messages_are_logged_sparingly_and_without_their_content(in_site: Site) -> None:
    worker = start_worker(in_site)
    message = doorbell(LOG)
    message["headers"]["task"] = "tasks.leak.sam@example.com"
    for _ in range(500):
        in_site.redis.call("LPUSH", LOG, str(message), "sam@example.com")
    emit(0)
    in_site.wait_for_lines(1)
    worker.wait_for_output("what is not ours")
    assert "sam@example" not in worker.output
    assert worker.output.count("what is not ours") < 5
    assert worker.stop() == 0
