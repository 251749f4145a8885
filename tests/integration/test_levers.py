"""Pause, resume and retry: what an operator decides while workers run, in a real Redis and with a real worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.claim import Claim, Paused
from dispatcher.store.counts import Counts, Pause
from dispatcher.store.levers import Levers, Retried
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import BreakerSignal, Settlement
from tests.support.clock import Clock
from tests.support.open_store import OpenStore, store_of_ten
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for

NAME = "segment"
START_MS = 1_000_000_000
PATIENT = BreakerSignal(failures=2, first_seconds=50, max_seconds=200)


@pytest.fixture
def open_store(redis_server: RedisServer, clock: Clock) -> Iterator[OpenStore]:
    """A store with ten batches of one event."""
    with store_of_ten(redis_server, NAME, clock) as store:
        yield store


@pytest.fixture
def levers(open_store: OpenStore, clock: Clock) -> Levers:
    return Levers(open_store.pool, clock=clock)


def counts(store: OpenStore) -> Counts:
    return store.counts([NAME])[NAME]


def claim(store: OpenStore, number: int) -> object:
    return store.claim(NAME, f"7-a-{number * 10:x}", token=f"worker {number}", lease_seconds=60)


def fail(store: OpenStore, clock: Clock, number: int, signal: BreakerSignal = PATIENT, seconds: float = 300) -> None:
    claimed = claim(store, number)
    assert isinstance(claimed, Claim), claimed
    due_ms = int((clock.now + seconds) * 1000)
    store.settle(claimed, Settlement(left=claimed.payloads, due_ms=due_ms, error="503", signal=signal))


def rung(store: OpenStore) -> set[str]:
    store.end_turn(NAME)
    ring = store.due(NAME, idle=False)
    return set() if ring is None else {ring.batch_id}


def test_a_paused_destination_parks_what_is_claimed_and_rings_for_nothing(
    open_store: OpenStore, levers: Levers, clock: Clock
) -> None:
    under_way = claim(open_store, 0)

    assert levers.pause(NAME, reason="they move") is None
    assert claim(open_store, 1) == Paused(None, "they move")
    clock.advance(10_000)

    assert rung(open_store) == set()
    assert counts(open_store).pause == Pause(since_ms=START_MS, reason="they move")
    # What was under way ends as it would.
    assert isinstance(under_way, Claim)
    assert open_store.settle(under_way, Settlement(delivered=1)) is not None
    # And more is put.
    put = Put(destination=NAME, journal="7-a", start=100, end=110, packed=pack([b"{}"]), count=1)
    assert open_store.put([put]) == [None]

    assert levers.resume(NAME)
    assert rung(open_store)
    claimed = claim(open_store, 1)
    assert isinstance(claimed, Claim)
    assert (claimed.attempts, claimed.maybe_delivered) == (0, False)
    assert not levers.resume(NAME)


def test_a_pause_ends_by_itself_and_can_be_changed(open_store: OpenStore, levers: Levers, clock: Clock) -> None:
    assert levers.pause(NAME, seconds=60) == START_MS + 60_000
    clock.advance(30)
    assert levers.pause(NAME, seconds=60, reason="longer") == START_MS + 90_000
    assert counts(open_store).pause == Pause(since_ms=START_MS, until_ms=START_MS + 90_000, reason="longer")
    clock.advance(59)
    assert isinstance(claim(open_store, 0), Paused)
    clock.advance(1)

    assert counts(open_store).pause is None
    assert isinstance(claim(open_store, 0), Claim)
    assert not levers.resume(NAME)


def test_a_pause_goes_before_an_open_breaker_and_leaves_it_alone(
    open_store: OpenStore, levers: Levers, clock: Clock
) -> None:
    for number in range(2):
        fail(open_store, clock, number, replace(PATIENT, result="transient"))
    levers.pause(NAME)
    clock.advance(1_000)

    assert isinstance(claim(open_store, 3), Paused)
    levers.resume(NAME)

    assert counts(open_store).breaker.state == "half-open"
    probe = claim(open_store, 3)
    assert isinstance(probe, Claim)
    open_store.settle(probe, Settlement(delivered=1, signal=replace(PATIENT, result="ok")))
    assert counts(open_store).breaker.state == "closed"


def test_a_retry_closes_the_breaker_and_has_all_come_due(open_store: OpenStore, levers: Levers, clock: Clock) -> None:
    under_way = claim(open_store, 9)
    for number in range(2):
        fail(open_store, clock, number, replace(PATIENT, result="transient"))
    assert rung(open_store) == set()

    assert levers.retry(NAME) == Retried(outcome="retried", batches=2, breaker_was_open=True)

    assert counts(open_store).breaker.state == "closed"
    assert rung(open_store)
    # The claim is its worker's still: nobody else gets the batch, and its outcome is recorded once.
    assert claim(open_store, 9) == "claimed"
    assert isinstance(under_way, Claim)
    assert open_store.settle(under_way, Settlement(delivered=1)) is not None
    again = claim(open_store, 0)
    assert isinstance(again, Claim)
    assert again.maybe_delivered is False


def test_a_retry_of_more_than_one_step_leaves_nothing_parked_behind(
    open_store: OpenStore, levers: Levers, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.store.levers._STEP", 2)
    for number in range(7):
        fail(open_store, clock, number, replace(PATIENT, result=""))

    assert levers.retry(NAME).batches == 7
    assert counts(open_store).due_ms == int(clock.now * 1000)


def test_a_destination_that_asked_for_time_is_tried_on_demand_only(
    open_store: OpenStore, levers: Levers, clock: Clock
) -> None:
    fail(open_store, clock, 0, replace(PATIENT, result="throttled", asked_seconds=3600))

    found = levers.retry(NAME)
    assert (found.outcome, found.until_ms) == ("throttled", START_MS + 3_600_000)
    assert counts(open_store).breaker.state == "open"

    assert levers.retry(NAME, at_once=True).outcome == "retried"
    assert counts(open_store).breaker.state == "closed"


def test_nothing_is_tried_again_while_it_is_paused(open_store: OpenStore, levers: Levers, clock: Clock) -> None:
    fail(open_store, clock, 0)
    levers.pause(NAME, seconds=60, reason="they move")

    found = levers.retry(NAME, at_once=True)

    assert found == Retried(outcome="paused", until_ms=START_MS + 60_000, reason="they move")
    assert counts(open_store).due_ms == START_MS + 300_000


def test_levers_work_in_a_redis_that_is_full(clock: Clock) -> None:
    with RedisServer(maxmemory=1) as server:
        pool = RedisPool(server.url, timeout_seconds=30)
        levers = Levers(pool, clock=clock)
        assert levers.pause(NAME) is None
        assert levers.resume(NAME)
        assert levers.retry(NAME).outcome == "retried"
        pool.close()


def test_a_worker_obeys_and_a_restarted_one_too(site: Site) -> None:
    def run(*arguments: str, code: int = 0) -> str:
        done = site.processes.run(*arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "segment is paused until" in run("pause", "segment", "--for", "1h", "--reason", "they move")
    worker = site.worker()
    assert site.emitting("for n in range(5): tracker.emit('shop.order.paid', {'n': n})").wait() == 0
    site.wait_for_lines(5)
    wait_for(lambda: site.counts("segment").parked == 5, what="the worker to park what is paused")
    worker.kill()
    site.worker()

    status = " ".join(run("status").split())
    assert "segment: paused for" in status
    assert "(they move)" in status
    assert json.loads(run("status", "--json"))["destinations"]["segment"]["pause"]["reason"] == "they move"
    assert "segment has been paused for" in " ".join(run("doctor", "--quick", "--only", "deliveries").split())
    assert site.counts("segment").delivered == 0
    assert "is paused until" in run("retry", "segment", code=1)

    assert "is resumed" in run("resume", "segment")
    site.wait_until_delivered()
    assert site.counts("segment").delivered == 5
    site.assert_ledger_closes()
    run("resume", "segment", code=1)


def test_after_an_outage_a_retry_has_all_delivered_at_once(site: Site) -> None:
    port_of = site.segment_stub.url
    for name, value in (("RETRY__FIRST_SECONDS", "300"), ("RETRY__MAX_SECONDS", "600"), ("BREAKER__FAILURES", "1")):
        site.environ[f"DISPATCHER_DESTINATIONS__SEGMENT__{name}"] = value
    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BREAKER__FIRST_SECONDS"] = "400"
    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BREAKER__MAX_SECONDS"] = "400"
    worker = site.worker(DISPATCHER_DESTINATIONS__SEGMENT__HOST="http://127.0.0.1:1")
    assert site.emitting("for n in range(5): tracker.emit('shop.order.paid', {'n': n})").wait() == 0
    wait_for(lambda: site.counts("segment").breaker.state == "open", what="the breaker to open")
    wait_for(lambda: site.counts("segment").parked == 5, what="all to be parked")
    assert worker.stop() == 0
    site.worker(DISPATCHER_DESTINATIONS__SEGMENT__HOST=port_of)

    done = site.processes.run("retry", "segment")

    assert done.returncode == 0, done.stderr
    assert "the breaker is closed" in done.stdout
    site.wait_until_delivered()
    assert site.counts("segment").delivered == 5


@pytest.mark.parametrize("command", ["pause", "resume", "retry"])
def test_an_unknown_destination_is_named_with_the_known_ones(site: Site, command: str) -> None:
    done = site.processes.run(command, "segmint")

    assert done.returncode == 3
    assert "'segmint'" in done.stderr
    assert "tracking_log, segment" in done.stderr or "segment, tracking_log" in done.stderr


def test_a_destination_can_be_paused_while_the_settings_are_wrong(site: Site) -> None:
    assert site.emitting("tracker.emit('shop.order.paid')").wait() == 0
    site.settings_file.write_text("[relay\n")

    done = site.processes.run("pause", "segment")

    assert done.returncode == 0, done.stderr
    assert "settings: " in done.stderr
    assert site.counts("segment").pause is not None


@pytest.mark.parametrize("given", ["0", "-5m", "soon", "1w", "m", "1e3"])
def test_a_wrong_length_of_a_pause_is_wrong_usage(site: Site, given: str) -> None:
    done = site.processes.run("pause", "segment", f"--for={given}")

    assert (done.returncode, site.counts("segment").pause) == (2, None)
    assert "such as 90s, 30m, 2h or 1d" in done.stderr
