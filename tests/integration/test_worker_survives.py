"""Workers and their doorbells: Redis dies under load, doorbells are lost and doubled, memory runs out."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections import Counter

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store import doorbell
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.tracking_lines import assert_each_once, count_lines, read_lines
from tests.support.waiting import wait_for

LOG, SEGMENT = "tracking_log", "segment"

# Emits steadily until it is told to stop, then reports the number of its events.
STEADY = """
from pathlib import Path
n, stop = 0, Path(sys.argv[1])
while not stop.exists():
    for _ in range(20):
        tracker.emit("shop.order.paid", {"n": n}); n += 1
    time.sleep(0.005)
assert dispatcher.flush(60)
report(n)
"""


def put_events(site: Site, count: int) -> None:
    """Put events into the store and their doorbells into Celery's queues, before any worker runs."""
    site.emitting(
        f"for n in range({count}): tracker.emit('shop.order.paid', {{'n': n}})\nassert dispatcher.flush(60)",
        DISPATCHER_DESTINATIONS__TRACKING_LOG__BATCH_EVENTS="50",
        DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS="50",
    ).succeed()


def assert_all_delivered_once(site: Site, count: int, timeout: float = 30.0) -> None:
    site.wait_until_delivered(timeout)
    assert_each_once(site.log, count)
    messages = read_lines(site.directory / "segment.jsonl")
    assert {message["properties"]["n"] for message in messages} == set(range(count))
    # A request may come twice, which Segment recognises by the ids of the messages.
    assert len({message["messageId"] for message in messages}) == count
    site.assert_ledger_closes()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_survives_restarts_of_redis_under_load(site: Site, pool: str) -> None:
    worker = site.worker("-P", pool, "-c", "2")
    stop = site.directory / "stop"
    emitting = site.emitting(STEADY, str(stop))
    for _ in range(3):
        site.wait_for_lines(count_lines(site.log) + 1)
        site.redis.restart()
    site.wait_for_lines(count_lines(site.log) + 1)
    stop.touch()
    emitted = int(emitting.report()[0])
    assert worker.running, worker.output[-3000:]
    assert_all_delivered_once(site, emitted)


def test_a_worker_waits_while_redis_is_down(site: Site) -> None:
    put_events(site, 1000)
    worker = site.worker()
    wait_for(lambda: count_lines(site.log) > 0)
    site.redis.stop()
    wait_for(lambda: "rror" in worker.output)
    time.sleep(1.5)  # the length of the outage
    site.redis.start()
    assert_all_delivered_once(site, 1000)
    assert worker.running


def test_a_worker_started_before_redis_waits_for_it(site: Site) -> None:
    put_events(site, 100)
    site.redis.stop()
    worker = site.processes.dispatcher("worker")
    wait_for(lambda: "annot connect" in worker.output, what=lambda: worker.output)
    site.redis.start()
    assert_all_delivered_once(site, 100)


def test_lost_doorbells_are_rung_again(site: Site) -> None:
    put_events(site, 1000)
    assert site.redis.call("DEL", LOG, SEGMENT) == 2
    site.worker()
    assert_all_delivered_once(site, 1000)


def test_doubled_doorbells_do_no_harm(site: Site) -> None:
    put_events(site, 1000)
    with site.redis.client() as client:
        for queue in (LOG, SEGMENT):
            for text in client.lrange(queue, 0, -1):
                message = json.loads(text)
                message["properties"]["delivery_tag"] += "-again"
                client.lpush(queue, json.dumps(message))
                client.rpush(queue, text)
    site.worker("-c", "4")
    assert_all_delivered_once(site, 1000)
    requests = Counter(message["messageId"] for message in read_lines(site.directory / "segment.jsonl"))
    assert set(requests.values()) == {1}


def test_a_doorbell_for_a_missing_batch_does_no_harm(site: Site) -> None:
    pool = RedisPool(site.redis.url, timeout_seconds=30)
    pool.execute_many(doorbell.commands([doorbell.Ring(destination=LOG, batch_id="no-such-batch", count=1)]))
    put_events(site, 10)
    site.worker()
    assert_all_delivered_once(site, 10)
    assert site.counts(LOG).accepted == 10
    pool.close()


def test_two_workers_divide_the_work_and_double_nothing(site: Site) -> None:
    put_events(site, 2000)
    workers: list[Child] = [site.worker("-n", f"{name}@%h") for name in ("one", "two")]
    assert_all_delivered_once(site, 2000)
    assert all(worker.stop() == 0 for worker in workers)


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_worker_that_is_stopped_finishes_what_it_has_begun(site: Site, pool: str) -> None:
    put_events(site, 1000)
    worker = site.worker("-P", pool, "-c", "2")
    wait_for(lambda: count_lines(site.log) > 0, every=0.001)
    assert worker.stop() == 0
    for queue in (LOG, SEGMENT):
        counts = site.counts(queue)
        assert counts.claimed == 0
        # What waits has a doorbell, so the next worker need not wait for the bell.
        assert site.redis.call("LLEN", queue) or not counts.batches
    assert site.counts(LOG).delivered == count_lines(site.log)
    site.worker()
    assert_all_delivered_once(site, 1000)


def test_a_stopping_worker_returns_unstarted_doorbells_in_order(site: Site) -> None:
    put_events(site, 3000)
    before = site.redis.call("LRANGE", SEGMENT, 0, -1)
    assert isinstance(before, list)
    # Accepts connections and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        worker = site.processes.start(
            *(sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel", "DEBUG"),
            *("-Q", SEGMENT, "-c", "1", "--prefetch-multiplier", "20"),
            DISPATCHER_DESTINATIONS__SEGMENT__HOST=f"http://127.0.0.1:{silent.getsockname()[1]}",
        )
        # Whoever claims rings for what is left.
        wait_for(lambda: site.redis.call("LLEN", SEGMENT) == len(before) - 20 + 1, what=lambda: worker.output)
        wait_for(lambda: site.counts(SEGMENT).claimed)
        worker.process.terminate()
        worker.wait_for_output("Worker: Stopping Pool")
    assert worker.wait() == 0
    # Hardly more than the one that had begun failed when the connection was cut, and is parked.
    assert site.counts(SEGMENT).parked
    after = site.redis.call("LRANGE", SEGMENT, 0, -1)
    assert isinstance(after, list)
    returned = [message for message in after if message in before]
    assert len(before) - 20 < len(returned) < len(before)
    assert returned == before[: len(returned)]


def test_a_worker_delivers_waiting_events_while_redis_is_out_of_memory(site: Site) -> None:
    put_events(site, 2000)
    # These are lost, and a full Redis accepts new ones only from the bell.
    assert site.redis.call("DEL", SEGMENT)
    site.redis.call("CONFIG", "SET", "maxmemory", "1")
    worker = site.worker("-c", "2")
    wait_for(lambda: site.ledger().waiting == 0, what=lambda: f"{site.ledger()}\n{worker.output[-2000:]}")
    assert_all_delivered_once(site, 2000)
    assert worker.stop() == 0
