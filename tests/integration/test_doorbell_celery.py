"""The doorbells that we write by hand, as real Celery workers take them, and those that go through Celery."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store import doorbell
from dispatcher.store.doorbell import Ring
from tests.support.json_lines import read_whole_lines
from tests.support.processes import Child, Processes
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for

STOCK, OURS = "kombu.transport.redis:Transport", "dispatcher.tasks.transport:Transport"
QUEUE = "tracking_log"
RING = Ring(destination=QUEUE, batch_id="7-a-10", count=37, attempts=2, example="edx.video.played")

# A worker that records its tasks.
WORKER = """
import json, os
from celery import Celery
from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

# Not by broker_transport, which kombu ignores for redis+socket://.
TRANSPORT_ALIASES["redis"] = os.environ["PEER_TRANSPORT"]
app = Celery("peer", broker=os.environ["PEER_BROKER"])
app.conf.update(
    task_queues=[Queue("tracking_log", Exchange("tracking_log"))],
    accept_content=["json"], task_acks_late=True, task_ignore_result=True, worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)

@app.task(name="tasks.tracking_log.deliver", bind=True)
def deliver(self, *args, **kwargs):
    request = {key: value for key, value in vars(self.request).items() if not key.startswith("_")}
    with open(os.environ["PEER_FILE"], "a") as file:
        file.write(json.dumps({**request, "args": args, "kwargs": kwargs}, default=str) + "\\n")
"""

# Fields that differ between any two messages, or name the sender.
OF_THE_SENDER = {"origin", "reply_to", "delivery_tag", "hostname", "headers", "id_", "properties"}


@pytest.fixture
def processes(tmp_path: Path, site: Site) -> Processes:
    (tmp_path / "peer.py").write_text(WORKER)
    return site.processes


def a_worker(processes: Processes, tmp_path: Path, redis: RedisServer, transport: str) -> Child:
    child = processes.start(
        *(sys.executable, "-m", "celery", "-A", "peer", "worker", "-P", "solo"),
        *("--loglevel", "INFO", "--without-gossip", "--without-mingle", "-Q", QUEUE),
        PYTHONPATH=f"{tmp_path}:{Path.cwd()}",
        PEER_BROKER=redis.url,
        PEER_TRANSPORT=transport,
        PEER_FILE=str(tmp_path / "requests"),
    )
    child.wait_for_output(" ready.")
    return child


def requests(tmp_path: Path) -> list[dict[str, Any]]:
    return read_whole_lines(tmp_path / "requests")


@pytest.mark.parametrize("transport", [STOCK, OURS])
def test_a_worker_takes_our_message_like_one_from_celerys_producer(
    tmp_path: Path, redis_server: RedisServer, processes: Processes, transport: str
) -> None:
    worker = a_worker(processes, tmp_path, redis_server, transport)
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    pool.execute_many(doorbell.commands([RING]))
    [ours] = wait_for(lambda: requests(tmp_path), what=lambda: worker.output)
    with Celery("producer", broker=redis_server.url, set_as_current=False) as app:
        doorbell.send(app, [RING])
        wait_for(lambda: len(requests(tmp_path)) == 2, what=lambda: worker.output)
        theirs = requests(tmp_path)[1]

    assert ours["id"] == ours["root_id"] == ours["correlation_id"] == "tracking_log.7-a-10"
    assert (ours["args"], ours["kwargs"], ours["retries"]) == (["7-a-10"], {}, 2)
    assert ours["argsrepr"] == "(37 events, edx.video.played, …, attempt 3)"
    assert ours["delivery_info"]["routing_key"] == QUEUE
    differing = {key for key in ours if ours[key] != theirs.get(key) and key not in OF_THE_SENDER}
    assert not differing, {key: (ours[key], theirs.get(key)) for key in differing}
    # The tasks are acknowledged, and nothing of them is left.
    wait_for(lambda: redis_server.call("EXISTS", "unacked", "unacked_index", QUEUE) == 0)
    assert worker.stop() == 0
    pool.close()


@pytest.mark.parametrize("transport", [STOCK, OURS])
def test_many_rings_in_one_command_all_arrive_once(
    tmp_path: Path, redis_server: RedisServer, processes: Processes, transport: str
) -> None:
    worker = a_worker(processes, tmp_path, redis_server, transport)
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    rings = [Ring(destination=QUEUE, batch_id=f"7-a-{number:x}", count=1) for number in range(300)]
    pool.execute_many(doorbell.commands(rings))
    wait_for(lambda: len(requests(tmp_path)) >= 300, what=lambda: worker.output)
    assert worker.stop() == 0
    # In the order of the rings.
    assert [request["args"] for request in requests(tmp_path)] == [[ring.batch_id] for ring in rings]
    pool.close()


def test_task_ids_differ_between_destinations_for_the_same_batch_id() -> None:
    names = ("segment", "tracking_log")
    assert len({Ring(destination=name, batch_id="7-a-0", count=1).task_id for name in names}) == 2


def test_rings_for_several_destinations_go_to_their_queues(redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    names = ["segment", "tracking_log", "segment"]
    pool.execute_many(doorbell.commands([Ring(destination=name, batch_id="7-a-0", count=1) for name in names]))
    assert [pool.execute("LLEN", name) for name in ("segment", "tracking_log")] == [2, 1]
    tags = {json.loads(text)["properties"]["delivery_tag"] for text in pool.execute("LRANGE", "segment", 0, -1)}
    assert len(tags) == 2
    pool.close()


def test_with_another_broker_the_relay_and_the_bell_ring_through_celery(site: Site) -> None:
    with RedisServer() as broker:
        site.environ["DISPATCHER_STORE_URL"] = site.redis.url.replace("redis+socket", "unix")
        site.environ["DISPATCHER_BROKER_URL"] = broker.url
        # The first doorbells are lost with this broker's data.
        site.emitting("for n in range(5): tracker.emit('shop.order.paid', {'n': n})").succeed()
        wait_for(lambda: broker.call("LLEN", "tracking_log"))
        broker.call("FLUSHALL")
        site.worker()
        site.emitting("for n in range(5, 10): tracker.emit('shop.order.paid', {'n': n})").succeed()
        # The bell finds this broker's queue empty, and rings for them again.
        site.wait_for_lines(10)
        assert site.redis.call("EXISTS", "tracking_log") == 0
        settings = site.settings()
        assert settings.broker == broker.url
        site.assert_ledger_closes()
        site.processes.close()


def test_events_reach_the_store_while_the_other_broker_is_down(site: Site) -> None:
    with RedisServer() as broker:
        site.environ["DISPATCHER_STORE_URL"] = site.redis.url.replace("redis+socket", "unix")
        site.environ["DISPATCHER_BROKER_URL"] = broker.url
        broker.stop()
        child = site.emitting(
            "tracker.emit('shop.order.paid', {'n': 1})\nassert dispatcher.flush(60), 'not flushed'",
        )
        child.succeed()
        assert site.counts("tracking_log").queued == 1
