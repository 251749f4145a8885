"""A destination that refuses, throttles, hangs or has no valid key makes only its own events wait."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.sink import ScriptedSink, answering, failing, hanging, refusing_poison
from tests.support.deliveries import LOG, SEGMENT
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.tracking_lines import assert_each_once
from tests.support.trickle import Trickle
from tests.support.waiting import wait_for

EMIT = "for n in range(int(sys.argv[1]), int(sys.argv[2])): tracker.emit('shop.order.paid', {'n': n})"


@pytest.fixture
def sink() -> Iterator[ScriptedSink]:
    with ScriptedSink() as sink:
        yield sink


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer, sink: ScriptedSink) -> Iterator[Site]:
    with open_site(tmp_path, redis_server) as site:
        # Instead of the Segment stub, which gets nothing.
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__HOST"] = sink.url
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS"] = "10"
        yield site


def emit(site: Site, start: int, end: int) -> None:
    site.emitting(EMIT, str(start), str(end)).succeed()


def breaker_is(site: Site, state: str) -> bool:
    return site.counts(SEGMENT).breaker.state == state


def assert_segment_got_each_once(sink: ScriptedSink, count: int) -> None:
    _, taken = sink.counts()
    assert len(taken) == count
    assert set(taken.values()) == {1}


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_hanging_destination_leaves_a_shared_worker_free_for_the_others(
    site: Site, sink: ScriptedSink, pool: str
) -> None:
    sink.behave(hanging)
    worker = site.worker(
        "--concurrency",
        "4",
        "--pool",
        pool,
        # Longer than the test waits for the log, so that a blocked delivery would fail it.
        DISPATCHER_DESTINATIONS__SEGMENT__TIMEOUT_SECONDS="40",
        DISPATCHER_DESTINATIONS__SEGMENT__LEASE_SECONDS="60",
    )
    emit(site, 0, 200)
    wait_for(lambda: sink.requests >= 2)
    for start in range(200, 260, 20):
        emit(site, start, start + 20)
        site.wait_for_lines(start + 20)
    assert site.counts(SEGMENT).delivered == 0
    sink.behave(answering)
    site.wait_until_delivered()
    assert_each_once(site.log, 260)
    assert worker.running
    site.assert_ledger_closes()


@pytest.mark.parametrize(
    ("answer", "delivers"),
    # The first never comes to a status; the second has one, and a body without an end.
    [(b"HTTP/1.1 103 E\r\n\r\n", False), (b"HTTP/1.1 200 OK\r\nX-A: b" + b"b" * 5000, True)],
    ids=["no status", "no end"],
)
def test_a_receiver_that_trickles_holds_no_worker(site: Site, answer: bytes, delivers: bool) -> None:
    with Trickle(answer) as receiver:
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__HOST"] = f"http://{receiver.address}"
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS"] = "100"
        worker = site.worker("--concurrency", "2")
        emit(site, 0, 100)
        site.wait_for_lines(100)
        if delivers:
            site.wait_until_delivered()
            assert site.counts(SEGMENT).delivered == 100
        else:
            wait_for(partial(breaker_is, site, "open"))
            shown = site.processes.run("status").stdout
            assert "gave no answer within 1.4 s" in " ".join(shown.split()), shown
            assert site.counts(SEGMENT).waiting == 100
    assert worker.running


def test_refused_credentials_open_the_breaker_at_once_and_lose_nothing(site: Site, sink: ScriptedSink) -> None:
    sink.behave(failing(401))
    worker = site.worker()
    emit(site, 0, 100)
    site.wait_for_lines(100)
    wait_for(lambda: site.counts(SEGMENT).breaker.cause == "setup")
    assert site.counts(SEGMENT).waiting == 100
    assert site.counts(LOG).delivered == 100
    sink.behave(answering)
    site.wait_until_delivered()
    assert_segment_got_each_once(sink, 100)
    assert worker.output.count("the breaker of segment is open") == 1
    assert worker.output.count("the breaker of segment is closed again") == 1


def test_an_open_breaker_costs_the_destination_one_request_at_a_time(site: Site, sink: ScriptedSink) -> None:
    sink.behave(failing(503))
    site.worker(DISPATCHER_DESTINATIONS__SEGMENT__BREAKER__FIRST_SECONDS="0.5")
    emit(site, 0, 500)
    wait_for(partial(breaker_is, site, "open"))
    before = sink.requests
    opened = site.counts(SEGMENT).breaker
    wait_for(lambda: site.counts(SEGMENT).breaker.until_ms != opened.until_ms)
    # Four may have been running when it opened, and each half second asks once; the fifty batches were not tried.
    assert sink.requests - before <= 25
    sink.behave(answering)
    site.wait_until_delivered()
    assert_segment_got_each_once(sink, 500)


def test_a_throttled_destination_is_not_asked_again_before_its_retry_after(site: Site, sink: ScriptedSink) -> None:
    sink.behave(failing(429, **{"Retry-After": "3"}))
    site.worker()
    emit(site, 0, 50)
    wait_for(lambda: site.counts(SEGMENT).breaker.cause == "throttled")
    breaker = site.counts(SEGMENT).breaker
    assert breaker.until_ms is not None
    assert breaker.opened_ms is not None
    assert breaker.until_ms - breaker.opened_ms == 3000
    asked = sink.requests
    sink.behave(answering)
    site.wait_until_delivered()
    assert_segment_got_each_once(sink, 50)
    assert asked <= 4


def test_one_bad_event_is_dead_and_no_good_one_is(site: Site, sink: ScriptedSink) -> None:
    sink.behave(refusing_poison)
    site.worker(DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS="100")
    site.emitting(
        "for n in range(300): tracker.emit('shop.order.paid', {'n': n, **({'poison': 1} if n == 77 else {})})"
    ).succeed()
    site.wait_until_delivered()
    counts = site.counts(SEGMENT)
    assert (counts.delivered, dict(counts.dead_by_reason)) == (299, {"invalid": 1})
    assert_segment_got_each_once(sink, 299)
    site.assert_ledger_closes()
