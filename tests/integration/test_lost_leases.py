"""Batches whose leases are lost repeatedly, or that Redis damaged: isolated, and dead-lettered if they must be."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.store.claim import Claim, Damaged
from dispatcher.store.counts import Counts
from dispatcher.store.dead_event import DeadEvent, unpack_event
from dispatcher.store.keys import BATCH, DEAD
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import BreakerSignal, Settlement
from tests.support.clock import Clock
from tests.support.open_store import OpenStore

NAME = "segment"
LEASE = 60.0


def counts(store: OpenStore) -> Counts:
    return store.counts([NAME])[NAME]


def put(store: OpenStore, events: int, *, start: int = 0, again: bool = False) -> str:
    payloads = [b"%d" % number for number in range(events)]
    one = Put(
        destination=NAME, journal="7-a", start=start, end=start + 10, packed=pack(payloads), count=events, again=again
    )
    assert store.put([one]) == [None]
    return one.batch_id


def take(store: OpenStore, batch_id: str, *, spread: float = 0.0) -> Claim:
    found = store.claim(NAME, batch_id, token=uuid4().hex, lease_seconds=LEASE, spread_seconds=spread)
    assert isinstance(found, Claim), found
    return found


def lose(store: OpenStore, clock: Clock, batch_id: str, times: int = 1) -> Claim:
    """Have ``times`` workers die with the batch. Returns the claim of the last one."""
    for _ in range(times):
        held = take(store, batch_id)
        clock.now += LEASE
    return held


def deliver(store: OpenStore, clock: Clock, batch_id: str, *poisonous: bytes) -> tuple[list[bytes], list[bytes], int]:
    """Play workers that some events kill until nothing waits. Returns delivered and dead payloads, lost leases."""
    delivered: list[bytes] = []
    dead: list[bytes] = []
    lost = 0
    while counts(store).waiting:
        held = take(store, batch_id)
        if held.condemned:
            dead += held.payloads
            events = [DeadEvent("worker_lost", "lost", payload) for payload in held.payloads]
            assert store.settle(held, Settlement(dead=events)) is not None
        elif set(poisonous).isdisjoint(held.payloads):
            delivered += held.payloads
            assert store.settle(held, Settlement(delivered=len(held.payloads))) is not None
        else:
            lost += 1
            clock.now += LEASE
        assert counts(store).closes
    return delivered, dead, lost


def test_two_lost_leases_change_nothing(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 8)
    lose(store, clock, batch_id, 2)
    held = take(store, batch_id)
    assert (len(held.payloads), held.rest, held.lost, held.condemned) == (8, (), 2, False)
    assert store.settle(held, Settlement(delivered=8))


def test_after_three_lost_leases_a_claim_gives_half_and_then_half_of_that(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 7)
    lose(store, clock, batch_id, 3)
    sizes = []
    for _ in range(4):
        held = lose(store, clock, batch_id)
        sizes.append((len(held.payloads), len(held.rest), held.condemned))
    assert sizes == [(4, 3, False), (2, 5, False), (1, 6, False), (1, 6, True)]
    assert counts(store).claimed == 7


def test_a_settled_half_is_done_and_the_rest_is_rung_for_at_once(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 8)
    lose(store, clock, batch_id, 3)
    half = take(store, batch_id)
    assert store.settle(half, Settlement(delivered=4))
    assert (counts(store).delivered, counts(store).queued) == (4, 4)
    store.end_turn(NAME)
    ring = store.due(NAME, idle=False)
    assert ring is not None
    assert (ring.batch_id, ring.count) == (batch_id, 4)
    second = take(store, batch_id)
    # If any event is fatal, it is among these.
    assert (second.payloads, second.rest, second.first) == ((b"4", b"5"), (b"6", b"7"), 4)
    assert second.maybe_delivered


@pytest.mark.parametrize("events", [1, 2, 3, 7, 500])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_the_event_that_kills_workers_is_dead_and_others_are_delivered_in_order(
    store: OpenStore, clock: Clock, events: int, where: str
) -> None:
    number = {"first": 0, "middle": events // 2, "last": events - 1}[where]
    batch_id = put(store, events)
    delivered, dead, lost = deliver(store, clock, batch_id, b"%d" % number)
    assert dead == [b"%d" % number]
    assert delivered == [b"%d" % n for n in range(events) if n != number]
    # Three of the whole batch, one for each halving, and at least six.
    assert lost <= max(6, 3 + (events - 1).bit_length() + 1)
    assert counts(store).dead_by_reason == {"worker_lost": 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(events=st.integers(1, 40), poisonous=st.sets(st.integers(0, 39), max_size=4))
def test_all_events_that_kill_workers_are_dead_and_no_other_is(
    store: OpenStore, clock: Clock, events: int, poisonous: set[int]
) -> None:
    store.pool.execute("FLUSHALL")
    batch_id = put(store, events)
    bad = [b"%d" % number for number in sorted(poisonous) if number < events]
    delivered, dead, _ = deliver(store, clock, batch_id, *bad)
    assert dead == bad
    assert delivered == [payload for n in range(events) if (payload := b"%d" % n) not in bad]


def test_a_retried_part_rejoins_the_rest_of_its_batch(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 8)
    lose(store, clock, batch_id, 3)
    half = take(store, batch_id)
    due_ms = int((clock.now + 5) * 1000)
    assert store.settle(half, Settlement(delivered=1, left=half.payloads[1:], due_ms=due_ms, error="503"))
    assert (counts(store).delivered, counts(store).parked, counts(store).retried) == (1, 7, 3)
    clock.now += 5
    again = take(store, batch_id)
    assert again.payloads + again.rest == tuple(b"%d" % n for n in range(1, 8))
    assert (again.attempts, again.maybe_delivered) == (1, True)


def test_leases_lost_with_successes_in_between_do_not_add_up(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 4)
    for _ in range(4):
        lose(store, clock, batch_id, 2)
        held = take(store, batch_id)
        assert len(held.payloads) == 4
        assert store.settle(held, Settlement(left=held.payloads, due_ms=0, error="503"))


def test_releases_in_outages_and_deployments_do_not_count_as_lost_leases(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 4)
    for _ in range(20):
        held = take(store, batch_id)
        assert store.settle(held, Settlement(left=held.payloads, due_ms=0, burns_attempt=False, waits_for="others"))
    for number in range(20):
        held = take(store, batch_id)
        failed = BreakerSignal(result="transient", failures=1, first_seconds=1)
        assert store.settle(held, Settlement(left=held.payloads, due_ms=0, signal=failed))
        assert not isinstance(store.claim(NAME, batch_id, token=f"{number}", lease_seconds=LEASE), Claim)
        clock.now += 100
    held = take(store, batch_id)
    assert (held.payloads, held.lost, held.maybe_delivered) == ((b"0", b"1", b"2", b"3"), 0, False)


def test_a_suspect_batch_that_settles_normally_is_delivered_in_full(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 4)
    lose(store, clock, batch_id, 3)
    for _ in range(3):
        held = take(store, batch_id)
        assert store.settle(held, Settlement(left=held.payloads, due_ms=0, error="503"))
    while counts(store).waiting:
        held = take(store, batch_id)
        assert store.settle(held, Settlement(delivered=len(held.payloads)))
    assert (counts(store).delivered, counts(store).dead) == (4, 0)


def test_a_condemned_event_stays_condemned_for_the_next_worker(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 1)
    lose(store, clock, batch_id, 6)
    assert take(store, batch_id).condemned
    clock.now += LEASE
    held = take(store, batch_id)
    assert held.condemned
    assert store.settle(held, Settlement(dead=[DeadEvent("worker_lost", "lost", held.payloads[0])]))


def test_deliveries_slower_than_the_lease_condemn_no_event(store: OpenStore, clock: Clock) -> None:
    batch_id = put(store, 2)
    before = lose(store, clock, batch_id)
    for _ in range(20):
        held = take(store, batch_id)
        # The previous worker answers too late: it was slow.
        assert store.settle(before, Settlement(left=before.payloads, error="timeout")) is None
        before = held
        clock.now += LEASE
    held = take(store, batch_id)
    assert (held.payloads, held.condemned) == ((b"0",), False)


def test_batches_lost_together_come_again_at_different_times(store: OpenStore, clock: Clock) -> None:
    one, other = put(store, 1), put(store, 1, start=10)
    for _ in range(2):
        lose(store, clock, one)
        clock.now -= LEASE
        lose(store, clock, other)
    take(store, one, spread=30)
    take(store, other, spread=0)
    clock.now += LEASE
    assert store.claim(NAME, one, token="t", lease_seconds=LEASE) == "claimed"
    assert take(store, other).lost == 3


def test_an_open_breaker_parks_a_suspect_batch_without_counting_it_as_lost(store: OpenStore, clock: Clock) -> None:
    batch_id, other = put(store, 4), put(store, 1, start=10)
    lose(store, clock, batch_id, 2)
    held = take(store, other)
    failed = BreakerSignal(result="setup", first_seconds=100)
    assert store.settle(held, Settlement(left=held.payloads, due_ms=0, signal=failed))
    for number in range(5):
        found = store.claim(NAME, batch_id, token=f"{number}", lease_seconds=LEASE)
        assert not isinstance(found, Claim | str)
    clock.now += 100
    assert take(store, batch_id).lost == 2


def test_events_that_the_store_had_lost_may_have_been_delivered(store: OpenStore) -> None:
    held = take(store, put(store, 2, again=True))
    assert (held.maybe_delivered, held.lost, held.payloads) == (True, 0, (b"0", b"1"))


def _flip(store: OpenStore, key: str) -> None:
    payload = bytearray(store.pool.execute("HGET", key, "packed"))
    payload[len(payload) // 2] ^= 1
    store.pool.execute("HSET", key, "packed", bytes(payload))


DAMAGES: dict[str, Callable[[OpenStore, str], object]] = {
    "a bit has flipped": _flip,
    "the payload is gone": lambda store, key: store.pool.execute("HDEL", key, "packed"),
    "the payload is another": lambda store, key: store.pool.execute("HSET", key, "packed", b"junk"),
    "the payload is empty": lambda store, key: store.pool.execute("HSET", key, "packed", b""),
    "the number of events is gone": lambda store, key: store.pool.execute("HDEL", key, "packed", "n"),
    "the number of events is none": lambda store, key: store.pool.execute("HSET", key, "packed", "x", "n", "1x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("state", ["queued", "claimed", "parked"])
def test_a_damaged_batch_becomes_dead_letters_with_its_bytes(
    store: OpenStore, clock: Clock, damage: str, state: str
) -> None:
    batch_id, other = put(store, 3), put(store, 5, start=10)
    if state != "queued":
        held = take(store, batch_id)
        if state == "parked":
            assert store.settle(held, Settlement(left=held.payloads, due_ms=0, error="503"))
        clock.now += LEASE
    key = BATCH.of(NAME, batch_id)
    DAMAGES[damage](store, key)
    left = store.pool.execute("HGET", key, "packed") or b""
    clock.now += 1000
    store.end_turn(NAME)
    assert store.due(NAME, idle=True) is not None
    found = store.claim(NAME, batch_id, token="t", lease_seconds=LEASE)
    assert isinstance(found, Damaged)
    assert (found.count, counts(store).dead_by_reason, counts(store).waiting) == (3, {"damaged": 3}, 5)
    assert "damaged in Redis" in counts(store).last_error
    letters = store.pool.execute("XRANGE", DEAD.of(NAME), "-", "+")
    assert [dict(zip(*[iter(fields)] * 2, strict=True))[b"event"] for _, fields in letters] == [left, b"", b""]
    assert store.claim(NAME, batch_id, token="t", lease_seconds=LEASE) == "settled"
    assert take(store, other).payloads == (b"0", b"1", b"2", b"3", b"4")


def test_a_damaged_batch_keeps_at_most_a_mebibyte(store: OpenStore) -> None:
    batch_id = put(store, 1)
    store.pool.execute("HSET", BATCH.of(NAME, batch_id), "packed", bytes(5_000_000))
    assert isinstance(store.claim(NAME, batch_id, token="t", lease_seconds=LEASE), Damaged)
    ((_, fields),) = store.pool.execute("XRANGE", DEAD.of(NAME), "-", "+")
    assert len(unpack_event(fields[fields.index(b"event") + 1])) == 1024 * 1024
