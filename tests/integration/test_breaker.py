"""The breaker of a destination in a real Redis, with a clock that the tests set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from dispatcher.store.claim import BreakerOpen, Claim
from dispatcher.store.counts import Breaker, Counts
from dispatcher.store.settlement import BreakerSignal, Settled, Settlement
from tests.support.clock import Clock
from tests.support.open_store import OpenStore, store_of_ten
from tests.support.redis_server import RedisServer

NAME = "segment"
START = 1_000_000.0
PATIENT = BreakerSignal(failures=3, first_seconds=5, max_seconds=20)


@pytest.fixture
def store(redis_server: RedisServer, clock: Clock) -> Iterator[OpenStore]:
    with store_of_ten(redis_server, NAME, clock) as store:
        yield store


def counts(store: OpenStore) -> Counts:
    return store.counts([NAME])[NAME]


def breaker(store: OpenStore) -> Breaker:
    return counts(store).breaker


def claim(store: OpenStore, number: int) -> Claim | BreakerOpen | str:
    return store.claim(NAME, f"7-a-{number * 10:x}", token=f"worker {number}", lease_seconds=60)


def end(store: OpenStore, clock: Clock, claimed: object, signal: BreakerSignal) -> Settled | None:
    assert isinstance(claimed, Claim), claimed
    if signal.result == "ok":
        return store.settle(claimed, Settlement(delivered=1, signal=signal))
    due = int(clock.now * 1000)
    return store.settle(claimed, Settlement(left=claimed.payloads, due_ms=due, error="503", signal=signal))


def try_one(store: OpenStore, clock: Clock, number: int, signal: BreakerSignal) -> Settled | None:
    return end(store, clock, claim(store, number), signal)


TRANSIENT = replace(PATIENT, result="transient")
OK = replace(PATIENT, result="ok")


def fail_until_open(store: OpenStore, clock: Clock) -> None:
    assert [try_one(store, clock, number, TRANSIENT) for number in range(3)] == [
        Settled(""),
        Settled(""),
        Settled("opened"),
    ]


def test_consecutive_failures_open_the_breaker_and_later_batches_are_parked(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)
    assert breaker(store) == Breaker(
        state="open",
        cause="transient",
        error="503",
        opened_ms=int(START * 1000),
        until_ms=int(START * 1000) + 5000,
        failures=3,
        opened=1,
    )
    assert claim(store, 3) == BreakerOpen(int(START * 1000) + 5000, "503")
    assert (counts(store).parked, counts(store).queued) == (4, 6)


def test_a_success_resets_the_count_of_failures(store: OpenStore, clock: Clock) -> None:
    for number, signal in enumerate([TRANSIENT, TRANSIENT, OK, TRANSIENT, TRANSIENT]):
        try_one(store, clock, number, signal)
    assert breaker(store).state == "closed"
    assert breaker(store).failures == 2


def test_batches_parked_by_an_open_breaker_use_no_attempt(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)
    assert isinstance(claim(store, 3), BreakerOpen)
    clock.now += 5
    claimed = claim(store, 3)
    assert isinstance(claimed, Claim)
    assert (claimed.attempts, claimed.maybe_delivered) == (0, False)


def test_a_half_open_breaker_tries_one_batch_and_closes_on_success(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)
    clock.now += 5
    assert breaker(store).state == "half-open"
    probe = claim(store, 3)
    assert isinstance(claim(store, 4), BreakerOpen)
    assert end(store, clock, probe, OK) == Settled("closed")
    assert breaker(store) == Breaker(opened=1)
    assert isinstance(claim(store, 4), Claim)


def test_a_failed_probe_doubles_the_pause_up_to_the_maximum(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)
    pauses = []
    for number in range(3, 7):
        until = breaker(store).until_ms
        assert until is not None
        clock.now = until / 1000
        assert try_one(store, clock, number, TRANSIENT) == Settled("")
        then = breaker(store).until_ms
        assert then is not None
        pauses.append((then - until) / 1000)
    assert pauses == [10, 20, 20, 20]
    assert breaker(store).opened == 1


def test_a_silent_probe_is_replaced_when_its_lease_expires(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)
    clock.now += 5
    assert isinstance(claim(store, 3), Claim)
    clock.now += 59
    assert isinstance(claim(store, 4), BreakerOpen)
    clock.now += 1
    assert isinstance(claim(store, 4), Claim)


def test_a_rate_limited_probe_is_replaced_at_once_and_decides_nothing(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)
    clock.now += 5
    assert try_one(store, clock, 3, PATIENT) == Settled("")
    assert breaker(store).state == "half-open"
    assert try_one(store, clock, 4, OK) == Settled("closed")


@pytest.mark.parametrize("result", ["throttled", "setup"])
def test_throttling_and_refused_credentials_open_the_breaker_at_once(
    store: OpenStore, clock: Clock, result: str
) -> None:
    assert try_one(store, clock, 0, replace(PATIENT, result=result)) == Settled("opened")
    assert (breaker(store).state, breaker(store).cause) == ("open", result)


def test_a_breaker_opened_by_throttling_stays_open_as_long_as_asked(store: OpenStore, clock: Clock) -> None:
    try_one(store, clock, 0, replace(PATIENT, result="throttled", asked_seconds=90))
    assert breaker(store).until_ms == int((START + 90) * 1000)
    clock.now += 90
    try_one(store, clock, 1, replace(PATIENT, result="throttled", asked_seconds=0.5))
    assert breaker(store).until_ms == int((START + 90.5) * 1000)


def test_batches_claimed_before_it_opened_neither_close_nor_prolong_it(store: OpenStore, clock: Clock) -> None:
    late = [claim(store, 8), claim(store, 9)]
    fail_until_open(store, clock)
    before = breaker(store)
    assert end(store, clock, late[0], TRANSIENT) == Settled("")
    assert end(store, clock, late[1], OK) == Settled("")
    assert breaker(store) == before


def test_the_bell_rings_for_nothing_then_for_the_probe_then_for_all_batches(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)

    def rung() -> bool:
        store.end_turn(NAME)
        return store.due(NAME, idle=True, every_seconds=60) is not None

    for number in range(3, 10):
        assert isinstance(claim(store, number), BreakerOpen)
    assert not rung()
    clock.now += 5
    assert rung()
    probe = claim(store, 0)
    if not isinstance(probe, Claim):
        pytest.fail(f"the oldest is the probe: {probe}")
    assert not rung()
    end(store, clock, probe, OK)
    assert rung()


def test_each_destination_has_its_own_breaker(store: OpenStore, clock: Clock) -> None:
    fail_until_open(store, clock)
    assert store.counts(["tracking_log"])["tracking_log"].breaker == Breaker()
