"""The batch store's commands against a real Redis, with the ledger's sum checked after each step."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store import keys
from dispatcher.store.claim import Claim
from dispatcher.store.counts import Counts
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.doorbell import Ring
from dispatcher.store.packing import pack
from dispatcher.store.put import Progress, Put
from dispatcher.store.settlement import Settlement
from tests.support.clock import Clock
from tests.support.open_store import OpenStore
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.every_server

NAME = "tracking_log"
LEASE = 60.0
START = 1_000_000.0


@pytest.fixture
def letters(store: OpenStore, clock: Clock) -> DeadLetters:
    return DeadLetters(store.pool, clock=clock)


def a_put(start: int, end: int, *payloads: bytes, journal: str = "7-a", **more: object) -> Put:
    return Put(
        destination=NAME,
        journal=journal,
        start=start,
        end=end,
        packed=pack(payloads) if payloads else b"",
        count=len(payloads),
        **more,  # type: ignore[arg-type]
    )


def counts(store: OpenStore) -> Counts:
    return store.counts([NAME])[NAME]


def claim(store: OpenStore, batch_id: str, *, token: str = "me", lease: float = LEASE) -> Claim:  # noqa: S107
    found = store.claim(NAME, batch_id, token=token, lease_seconds=lease)
    assert isinstance(found, Claim), found
    return found


def put_one(store: OpenStore, start: int = 0, events: int = 2, journal: str = "7-a") -> str:
    put = a_put(start, start + 10, *(b"%d" % number for number in range(events)), journal=journal)
    assert store.put([put]) == [None]
    return put.batch_id


def due(store: OpenStore, *, idle: bool = False) -> str | None:
    """The batch to ring for now. By the clock of Redis itself, one bell excludes others for a millisecond only."""
    ring = ring_of(store, idle=idle)
    return None if ring is None else ring.batch_id


def ring_of(store: OpenStore, *, idle: bool = False) -> Ring | None:
    store.end_turn(NAME)
    return store.due(NAME, idle=idle, every_seconds=60)


def test_a_claim_returns_the_events_of_a_put_in_order(store: OpenStore) -> None:
    batch_id = put_one(store, events=3)
    found = replace(counts(store), since_ms=None, workers=None)
    assert found == Counts(accepted=3, queued=3, batches=1, oldest_ms=int(START * 1000))
    claimed = claim(store, batch_id)
    assert claimed.payloads == (b"0", b"1", b"2")
    assert (claimed.attempts, claimed.maybe_delivered, claimed.batch_id) == (0, False, batch_id)
    assert counts(store).claimed == 3


def test_putting_a_range_again_changes_nothing_before_and_after_it_is_settled(store: OpenStore) -> None:
    put = a_put(0, 10, b"a", b"b")
    assert store.put([put, put]) == [None, None]
    assert counts(store).queued == 2
    claimed = claim(store, put.batch_id)
    assert store.put([put]) == [None]
    assert (counts(store).queued, counts(store).claimed) == (0, 2)
    store.settle(claimed, Settlement(delivered=2))
    assert store.put([put]) == [None]
    assert (counts(store).accepted, counts(store).delivered, counts(store).waiting) == (2, 2, 0)


def test_a_partly_stored_range_is_refused_with_the_position_to_start_from(store: OpenStore) -> None:
    assert store.put([a_put(0, 10, b"a")]) == [None]
    before = counts(store)
    assert store.put([a_put(0, 20, b"a", b"b"), a_put(5, 20, b"b")]) == [10, 10]
    assert counts(store) == before
    assert store.put([a_put(10, 20, b"b")]) == [None]


def test_a_refused_range_refuses_the_later_ranges_of_its_journal(store: OpenStore) -> None:
    # The put of a killed relay arrives just before the next relay's, which splits the range differently.
    assert store.put([a_put(0, 5, b"a")]) == [None]
    split_differently = [a_put(0, 10, b"a", b"b"), a_put(10, 20, b"c", after=10), a_put(20, 30, b"d", after=20)]
    assert store.put(split_differently) == [5, 5, 5]
    assert counts(store).accepted == 1
    assert store.put([a_put(5, 10, b"b", after=5), a_put(10, 20, b"c", after=10)]) == [None, None]
    assert counts(store).accepted == 3


def test_a_store_that_lost_a_range_refuses_what_follows_it(store: OpenStore) -> None:
    assert store.put([a_put(0, 10, b"a"), a_put(10, 20, b"b", after=10)]) == [None, None]
    store.pool.execute("FLUSHALL")
    assert store.put([a_put(20, 30, b"c", after=20)]) == [-1]
    assert store.progress([NAME], "7-a") == {NAME: Progress(-1, -1)}


def test_the_progress_of_a_journal_is_where_its_first_unsettled_batch_starts(store: OpenStore, clock: Clock) -> None:
    puts = [a_put(0, 10, b"a"), a_put(10, 20, b"b"), a_put(20, 30, b"c")]
    store.put(puts)
    assert store.progress([NAME], "7-a") == {NAME: Progress(30, 0)}
    first = claim(store, puts[0].batch_id)
    store.settle(first, Settlement(left=first.payloads, due_ms=int(clock.now * 1000), error="no"))
    store.settle(claim(store, puts[1].batch_id), Settlement(delivered=1))
    assert store.progress([NAME], "7-a") == {NAME: Progress(30, 0)}
    store.settle(claim(store, puts[0].batch_id), Settlement(delivered=1))
    assert store.progress([NAME], "7-a") == {NAME: Progress(30, 20)}
    store.settle(claim(store, puts[2].batch_id), Settlement(filtered={"consent": 1}))
    assert store.progress([NAME], "7-a") == {NAME: Progress(30, -1)}


def test_a_range_inside_a_stored_one_changes_nothing(store: OpenStore) -> None:
    store.put([a_put(0, 30, b"a", b"b", b"c")])
    assert store.put([a_put(0, 10, b"a"), a_put(10, 30, b"b", b"c")]) == [None, None]
    assert counts(store).accepted == 3


def test_each_journal_has_a_position_per_destination(store: OpenStore) -> None:
    store.put([a_put(0, 10, b"a"), a_put(0, 25, b"a", journal="8-b")])
    assert store.progress([NAME, "segment"], "7-a") == {NAME: Progress(10, 0), "segment": Progress(-1, -1)}
    assert store.progress([NAME], "8-b") == {NAME: Progress(25, 0)}


def test_a_range_without_events_for_the_destination_is_counted_and_makes_no_batch(store: OpenStore) -> None:
    put = a_put(0, 10, filtered={"not_listed": 3, "internal": 1}, dead=[DeadEvent("too_large", "why", b"{}")])
    assert store.put([put, put]) == [None, None]
    found = counts(store)
    assert (found.accepted, found.filtered, found.dead, found.waiting, found.batches) == (5, 4, 1, 0, 0)
    assert found.filtered_by_reason == {"not_listed": 3, "internal": 1}
    assert found.dead_by_reason == {"too_large": 1}


def test_no_other_worker_can_claim_a_batch_before_its_lease_expires(store: OpenStore, clock: Clock) -> None:
    batch_id = put_one(store)
    claim(store, batch_id, token="first")
    clock.advance(LEASE - 1)
    assert store.claim(NAME, batch_id, token="second", lease_seconds=LEASE) == "claimed"
    clock.advance(1)
    taken = claim(store, batch_id, token="second")
    assert taken.maybe_delivered
    assert counts(store).claimed == 2


def test_a_worker_that_lost_the_lease_can_neither_settle_nor_park(store: OpenStore, clock: Clock) -> None:
    batch_id = put_one(store)
    first = claim(store, batch_id, token="first")
    clock.advance(LEASE)
    second = claim(store, batch_id, token="second")
    assert not store.settle(first, Settlement(delivered=2))
    assert not store.settle(first, Settlement(left=first.payloads, due_ms=1, error="no"))
    assert (counts(store).delivered, counts(store).parked, counts(store).claimed) == (0, 0, 2)
    assert store.settle(second, Settlement(delivered=2))


def test_a_worker_may_settle_after_its_lease_expired_if_nobody_took_over(store: OpenStore, clock: Clock) -> None:
    first = claim(store, put_one(store))
    clock.advance(LEASE * 2)
    assert store.settle(first, Settlement(delivered=2))


def test_a_worker_loses_a_batch_that_was_rung_for_again(store: OpenStore, clock: Clock) -> None:
    first = claim(store, put_one(store))
    clock.advance(LEASE)
    assert due(store) == first.batch_id
    assert claim(store, first.batch_id, token="second").maybe_delivered
    assert not store.settle(first, Settlement(delivered=2))


def test_settling_twice_counts_once(store: OpenStore) -> None:
    claimed = claim(store, put_one(store))
    assert store.settle(claimed, Settlement(delivered=2))
    assert not store.settle(claimed, Settlement(delivered=2))
    assert counts(store).delivered == 2
    assert store.claim(NAME, claimed.batch_id, token="late", lease_seconds=LEASE) == "settled"


def test_a_settled_batch_leaves_only_the_counters_and_the_position(store: OpenStore, server: RedisServer) -> None:
    claimed = claim(store, put_one(store))
    store.settle(claimed, Settlement(delivered=2))
    with server.client() as client:
        assert sorted(client.keys("dispatcher:*")) == [
            keys.COUNTS.of(NAME).encode(),
            keys.JOURNAL.of(NAME, "7-a").encode(),
        ]


def test_each_outcome_is_counted_and_the_remaining_events_are_parked(store: OpenStore, server: RedisServer) -> None:
    claimed = claim(store, put_one(store, events=5))
    dead = [DeadEvent("invalid", "no user", b"2")]
    due_ms = int(START * 1000) + 5000
    settlement = Settlement(
        delivered=1, filtered={"opted_out": 1}, dead=dead, left=(b"3", b"4"), due_ms=due_ms, error="503"
    )
    assert store.settle(claimed, settlement)
    found = counts(store)
    assert (found.accepted, found.delivered, found.filtered, found.dead, found.parked) == (5, 1, 1, 1, 2)
    assert (found.retried, found.due_ms, found.last_error) == (2, due_ms, "503")
    with server.client() as client:
        [(_, letter)] = client.xrange(keys.DEAD.of(NAME))
    assert letter[b"event"] == b"2"
    assert (letter[b"reason"], letter[b"error"], letter[b"attempts"]) == (b"invalid", b"no user", b"1")


def test_a_parked_batch_cannot_be_claimed_before_it_is_due(store: OpenStore, clock: Clock) -> None:
    claimed = claim(store, put_one(store, events=3))
    store.settle(claimed, Settlement(delivered=1, left=(b"1", b"2"), due_ms=int((START + 5) * 1000), error="503"))
    assert due(store) is None
    assert store.claim(NAME, claimed.batch_id, token="me", lease_seconds=LEASE) == "parked"
    clock.advance(5)
    ring = ring_of(store)
    assert ring is not None
    assert (ring.batch_id, ring.count, ring.attempts) == (claimed.batch_id, 2, 1)
    again = claim(store, claimed.batch_id)
    assert (again.payloads, again.attempts, again.maybe_delivered) == ((b"1", b"2"), 1, False)


def test_a_whole_batch_that_is_parked_keeps_its_events(store: OpenStore, clock: Clock) -> None:
    claimed = claim(store, put_one(store))
    store.settle(claimed, Settlement(left=claimed.payloads, due_ms=int(START * 1000), error="503"))
    assert claim(store, claimed.batch_id).payloads == claimed.payloads


def test_a_batch_of_a_killed_worker_counts_as_maybe_delivered_in_later_retries_too(
    store: OpenStore, clock: Clock
) -> None:
    batch_id = put_one(store)
    claim(store, batch_id, token="killed")
    clock.advance(LEASE)
    second = claim(store, batch_id, token="second")
    store.settle(second, Settlement(left=second.payloads, due_ms=int(clock.now * 1000), error="disk full"))
    assert claim(store, batch_id).maybe_delivered


def test_a_batch_parked_until_now_is_rung_for_at_once_as_if_never_claimed(store: OpenStore, clock: Clock) -> None:
    claimed = claim(store, put_one(store))
    assert store.settle(
        claimed,
        Settlement(left=claimed.payloads, due_ms=int(clock.now * 1000), burns_attempt=False, waits_for="others"),
    )
    assert counts(store).parked == 2
    assert due(store, idle=True) == claimed.batch_id
    assert not claim(store, claimed.batch_id).maybe_delivered


def test_rate_limited_batches_are_rung_for_in_order_before_newer_ones(store: OpenStore, clock: Clock) -> None:
    batches = [put_one(store, number * 10) for number in range(6)]
    for batch_id in batches:
        claimed = claim(store, batch_id)
        due_ms = int((clock.now + 5) * 1000)
        rate_limited = Settlement(
            left=claimed.payloads, due_ms=due_ms, burns_attempt=False, waits_for="others are first"
        )
        assert store.settle(claimed, rate_limited)
        clock.advance(1)
    counts = store.counts([NAME])[NAME]
    assert (counts.last_error, counts.due_ms) == ("", int((START + 5) * 1000))
    clock.advance(60)
    younger = put_one(store, 60)
    clock.advance(6)
    for batch_id in batches:
        assert due(store, idle=True) == batch_id
        assert claim(store, batch_id).attempts == 0
    assert claim(store, younger).attempts == 0


def test_a_batch_is_not_rung_for_twice_in_a_row(store: OpenStore, clock: Clock) -> None:
    put_one(store)
    clock.advance(4)
    assert due(store, idle=True) is None


def test_with_an_empty_queue_a_ring_is_repeated_after_a_few_seconds(store: OpenStore, clock: Clock) -> None:
    batch_id = put_one(store)
    clock.advance(6)
    assert due(store, idle=False) is None
    assert due(store, idle=True) == batch_id
    assert due(store, idle=True) is None


def test_a_ring_unanswered_for_ten_minutes_is_always_repeated(store: OpenStore, clock: Clock) -> None:
    batch_id = put_one(store)
    clock.advance(599)
    assert due(store) is None
    clock.advance(2)
    assert due(store) == batch_id


def test_only_one_of_many_bells_rings(store: OpenStore, clock: Clock, server: RedisServer) -> None:
    for start in range(0, 50, 10):
        put_one(store, start)
    clock.advance(6)
    server.call("DEL", keys.BELL.of(NAME))
    answers = [store.due(NAME, idle=True, every_seconds=60) for _ in range(3)]
    assert [answer is not None for answer in answers] == [True, False, False]


def test_the_script_is_loaded_again_when_redis_has_forgotten_it(store: OpenStore, server: RedisServer) -> None:
    batch_id = put_one(store)
    server.call("SCRIPT", "FLUSH")
    claimed = claim(store, batch_id)
    server.call("SCRIPT", "FLUSH")
    assert store.settle(claimed, Settlement(delivered=2))
    server.call("SCRIPT", "FLUSH")
    assert counts(store).delivered == 2
    server.call("SCRIPT", "FLUSH")
    assert store.put([a_put(50, 60, b"a"), a_put(60, 70, b"b")]) == [None, None]


def test_events_of_any_bytes_come_back_unchanged(store: OpenStore) -> None:
    payloads = ('{"name":"Grüße"}'.encode(), b'{"x":"' + b"a" * 300_000 + b'"}', b"{}")
    put = a_put(0, 10, *payloads)
    store.put([put])
    assert claim(store, put.batch_id).payloads == payloads


def test_at_maxmemory_a_put_fails_cleanly_and_waiting_batches_can_be_delivered(redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    store = OpenStore(pool)
    ids = [put_one(store, start, events=4) for start in range(0, 100, 10)]
    before = counts(store)
    redis_server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailableError, match="maxmemory"):
        store.put([a_put(100, 110, b"refused")])
    assert counts(store) == before
    assert store.progress([NAME], "7-a")[NAME].put == 100
    parked = claim(store, ids[0], lease=0.001)
    store.settle(parked, Settlement(delivered=1, left=parked.payloads[1:], due_ms=0, error="503"))
    ring = store.due(NAME, idle=True, every_seconds=0.001)
    assert ring is not None
    assert ring.batch_id == ids[0]
    for batch_id in ids:
        claimed = claim(store, batch_id)
        assert store.settle(claimed, Settlement(delivered=len(claimed.payloads)))
    assert (counts(store).delivered, counts(store).waiting) == (40, 0)
    redis_server.call("CONFIG", "SET", "maxmemory", "0")
    assert store.put([a_put(100, 110, b"taken")]) == [None]
    assert counts(store).closes
    pool.close()


def test_a_redis_that_refuses_or_does_not_answer_is_reported_as_unavailable(redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=0.2)
    store = OpenStore(pool)
    put_one(store)
    redis_server.freeze()
    with pytest.raises(StoreUnavailableError, match="Timeout"):
        put_one(store, 10)
    redis_server.thaw()
    # The put may have happened or not: putting it again is right in both cases.
    assert store.put([a_put(10, 20, b"0", b"1")]) == [None]
    assert counts(store).accepted == 4
    redis_server.stop()
    with pytest.raises(StoreUnavailableError, match=r"redis\.sock"):
        counts(store)
    redis_server.start()
    assert counts(store).accepted == 4
    pool.close()


def test_forgetting_a_journal_with_waiting_batches_puts_nothing_twice(
    store: OpenStore, clock: Clock, server: RedisServer
) -> None:
    put = a_put(0, 10, b"a", b"b")
    store.put([put, a_put(10, 20, b"c")])
    claimed = claim(store, put.batch_id)
    store.settle(claimed, Settlement(left=claimed.payloads, due_ms=int(clock.now * 1000), error="no"))
    server.call("DEL", keys.JOURNAL.of(NAME, "7-a"))
    assert store.progress([NAME], "7-a") == {NAME: Progress(20, 0)}
    assert store.put([put, a_put(0, 30, b"a", b"b", b"c", b"d")]) == [None, 20]
    for batch_id in (put.batch_id, "7-a-a"):
        claimed = claim(store, batch_id)
        store.settle(claimed, Settlement(delivered=len(claimed.payloads)))
    assert counts(store).accepted == counts(store).delivered == 3
    assert (counts(store).waiting, counts(store).batches) == (0, 0)
    # The latest settlement is known too, although the key was gone by then.
    assert store.progress([NAME], "7-a") == {NAME: Progress(20, -1)}


def test_a_journal_is_forgotten_a_week_after_its_last_batch_was_settled(store: OpenStore, server: RedisServer) -> None:
    def seconds() -> object:
        return server.call("TTL", keys.JOURNAL.of(NAME, "7-a"))

    store.put([a_put(0, 10, filtered={"not_listed": 1})])
    assert seconds() == 604_800
    store.put([a_put(10, 20, b"a"), a_put(20, 30, filtered={"not_listed": 1}), a_put(30, 40, b"b")])
    store.progress([NAME], "7-a")
    assert seconds() == -1
    store.settle(claim(store, "7-a-1e"), Settlement(delivered=1))
    assert seconds() == -1
    store.settle(claim(store, "7-a-a"), Settlement(delivered=1))
    assert seconds() == 604_800


@pytest.mark.parametrize("found_by", ["bell", "claim"])
def test_a_batch_that_lost_its_events_becomes_dead_letters_and_blocks_nothing(
    store: OpenStore, letters: DeadLetters, clock: Clock, server: RedisServer, found_by: str
) -> None:
    gone, other = put_one(store, 0, events=3), put_one(store, 10, events=2)
    server.call("DEL", keys.BATCH.of(NAME, gone))
    clock.advance(6)
    if found_by == "bell":
        assert due(store, idle=True) == other
    assert store.claim(NAME, gone, token="me", lease_seconds=LEASE) == "settled"
    found = counts(store)
    assert (found.accepted, found.queued, found.dead, found.batches) == (5, 2, 3, 1)
    assert found.dead_by_reason == {"vanished": 3}
    assert store.progress([NAME], "7-a") == {NAME: Progress(20, 10)}
    with server.client() as client:
        [(entry, _)] = client.xrange(keys.DEAD.of(NAME))
    assert letters.drop(NAME, [entry.decode()]) == 3
    assert (counts(store).dead, counts(store).filtered_by_reason) == (0, {"dropped": 3})


@pytest.mark.parametrize("lost", ["queued", "claimed", "parked", "since", "counts", "open:7-a"])
def test_the_bell_repairs_waiting_batches_after_any_key_is_lost(
    store: OpenStore, clock: Clock, server: RedisServer, lost: str
) -> None:
    ids = [put_one(store, start) for start in (0, 10, 20)]
    claim(store, ids[1])
    parked = claim(store, ids[2])
    store.settle(parked, Settlement(left=parked.payloads, due_ms=int(clock.now * 1000), error="no"))
    server.call("DEL", f"{keys.prefix(NAME)}{lost}")
    clock.advance(700)
    due(store, idle=True)
    for batch_id in ids:
        store.settle(claim(store, batch_id), Settlement(delivered=2))
    found = counts(store)
    assert (found.waiting, found.batches, found.delivered) == (0, 0, 6)
    assert found.closes


def test_the_bell_leaves_a_batch_in_one_state_only(store: OpenStore, clock: Clock, server: RedisServer) -> None:
    batch_id = put_one(store)
    for command in (
        ("ZADD", keys.PARKED, 0, batch_id),
        ("HINCRBY", keys.COUNTS, "parked", 2),
        ("HINCRBY", keys.COUNTS, "accepted", 2),
    ):
        server.call(command[0], command[1].of(NAME), *command[2:])
    store.settle(claim(store, batch_id), Settlement(delivered=2))
    due(store)
    assert (counts(store).waiting, counts(store).delivered, counts(store).batches) == (0, 2, 0)
    assert counts(store).closes


def test_dead_letters_named_twice_are_never_revived_and_dropped_once(
    store: OpenStore, letters: DeadLetters, server: RedisServer
) -> None:
    store.put([a_put(0, 10, dead=[DeadEvent("too_large", "why", b"{}")])])
    with server.client() as client:
        [(entry, _)] = client.xrange(keys.DEAD.of(NAME))
    letter = entry.decode()
    assert not letters.revive(NAME, f"replay-{letter}", [b"{}", b"{}"], [letter, letter])
    assert (counts(store).dead, counts(store).queued) == (1, 0)
    assert letters.drop(NAME, [letter, letter]) == 1
    assert counts(store).dead_by_reason == {"too_large": 0}


def test_a_revived_batch_never_replaces_a_waiting_one(
    store: OpenStore, letters: DeadLetters, server: RedisServer
) -> None:
    for start in (0, 10):
        store.put([a_put(start, start + 10, dead=[DeadEvent("too_large", "why", b"{}")])])
    with server.client() as client:
        ids = [entry.decode() for entry, _ in client.xrange(keys.DEAD.of(NAME))]
    assert all(letters.revive(NAME, "replay-1-0", [b"{}"], [letter]) for letter in ids)
    assert (counts(store).queued, counts(store).batches) == (2, 2)


def test_a_clock_set_back_does_not_repeat_rings_endlessly(store: OpenStore, clock: Clock) -> None:
    claim(store, put_one(store, 0))
    clock.advance(-86_400)
    put_one(store, 10)
    clock.advance(30)
    assert due(store) is None


class StoreMachine(RuleBasedStateMachine):
    """Any order of puts, claims, settlements, crashes and restarts: the ledger closes, each event has one outcome."""

    server: RedisServer

    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.server.call("FLUSHALL")
        self.clock = Clock()
        self.pool = RedisPool(self.server.url, timeout_seconds=30)
        self.store = OpenStore(self.pool, clock=self.clock)
        self.position = 0
        self.accepted = 0
        self.held: dict[str, Claim] = {}
        self.ids: list[str] = []
        self.waiting: dict[str, Counter[bytes]] = {}
        self.delivered: Counter[bytes] = Counter()
        self.dead: Counter[bytes] = Counter()
        self.filtered = 0
        self.last: Put | None = None
        self.tokens = 0

    @rule(events=st.integers(0, 4), filtered=st.integers(0, 2))
    def put(self, events: int, filtered: int) -> None:
        payloads = [b"%d" % (self.position + number) for number in range(events)]
        put = a_put(self.position, self.position + 8, *payloads, filtered={"not_listed": filtered} if filtered else {})
        assert self.store.put([put]) == [None]
        self.last = put
        self.position += 8
        self.accepted += events + filtered
        self.filtered += filtered
        if payloads:
            self.ids.append(put.batch_id)
            self.waiting[put.batch_id] = Counter(payloads)

    @rule()
    def put_again(self) -> None:
        if self.last is not None:
            assert self.store.put([self.last]) == [None]

    @rule(target=claims, data=st.data())
    def claim(self, data: st.DataObject) -> object:
        if not self.ids:
            return multiple()
        batch_id = data.draw(st.sampled_from(self.ids))
        self.tokens += 1
        found = self.store.claim(NAME, batch_id, token=str(self.tokens), lease_seconds=LEASE)
        if isinstance(found, str):
            assert (found == "settled") == (batch_id not in self.waiting)
            return multiple()
        assert Counter(found.payloads + found.rest) == self.waiting[batch_id]
        self.held[batch_id] = found
        return found

    @rule(claimed=consumes(claims), fates=st.lists(st.sampled_from("dxlf"), min_size=4, max_size=4))
    def settle(self, claimed: Claim, fates: list[str]) -> None:
        pairs = list(zip(fates, claimed.payloads, strict=False))
        left = [payload for fate, payload in pairs if fate == "l"]
        settlement = Settlement(
            delivered=sum(fate == "d" for fate, _ in pairs),
            filtered=dict(Counter("opted_out" for fate, _ in pairs if fate == "f")),
            dead=[DeadEvent("invalid", "", payload) for fate, payload in pairs if fate == "x"],
            left=left,
            due_ms=int((self.clock.now + 5) * 1000),
            error="503" if left else "",
        )
        settled = self.store.settle(claimed, settlement)
        if not settled:
            return
        assert self.held[claimed.batch_id] is claimed, "one who had lost the lease settled"
        del self.held[claimed.batch_id]
        self.delivered.update(payload for fate, payload in pairs if fate == "d")
        self.dead.update(payload for fate, payload in pairs if fate == "x")
        self.filtered += sum(fate == "f" for fate, _ in pairs)
        if left or claimed.rest:
            self.waiting[claimed.batch_id] = Counter([*left, *claimed.rest])
        else:
            del self.waiting[claimed.batch_id]

    @rule(claimed=consumes(claims))
    def crash(self, claimed: Claim) -> None:
        """The worker dies without settling its batches."""

    @rule(data=st.data(), times=st.integers(3, 7))
    def crash_again_and_again(self, data: st.DataObject, times: int) -> None:
        if self.ids:
            batch_id = data.draw(st.sampled_from(self.ids))
            for _ in range(times):
                self.clock.advance(LEASE)
                self.tokens += 1
                if isinstance(self.store.claim(NAME, batch_id, token=str(self.tokens), lease_seconds=LEASE), Claim):
                    self.held.pop(batch_id, None)

    @rule(seconds=st.sampled_from([1, 6, LEASE, 700]))
    def let_time_pass(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(idle=st.booleans())
    def ring(self, idle: bool) -> None:
        entry = ring_of(self.store, idle=idle)
        if entry is not None:
            assert entry.count == sum(self.waiting[entry.batch_id].values())

    @rule()
    def forget_the_script(self) -> None:
        self.server.call("SCRIPT", "FLUSH")

    @invariant()
    def the_ledger_closes(self) -> None:
        found = counts(self.store)
        assert found.closes, found
        assert found.accepted == self.accepted
        assert found.delivered == sum(self.delivered.values())
        assert found.dead == sum(self.dead.values())
        assert found.filtered == self.filtered
        assert found.waiting == sum(map(Counter.total, self.waiting.values()))
        assert found.batches == len(self.waiting)
        assert all(times == 1 for times in (self.delivered + self.dead).values())

    def teardown(self) -> None:
        """Whatever happened before: in time the bell alone gets everything delivered."""
        if not hasattr(self, "store"):
            return
        # A batch whose lease was lost several times comes in parts.
        self.clock.advance(1000)
        while batch_id := due(self.store, idle=True):
            claimed = claim(self.store, batch_id)
            assert self.store.settle(claimed, Settlement(delivered=len(claimed.payloads)))
        assert counts(self.store).waiting == 0
        self.pool.close()


def test_the_ledger_closes_and_loses_no_event_after_any_order_of_commands(
    server: RedisServer,
) -> None:
    StoreMachine.server = server
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
