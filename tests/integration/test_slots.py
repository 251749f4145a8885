"""A destination whose batches spread over slots: as one destination for all that look at it, and nothing gets lost."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store import keys, script, slots
from dispatcher.store.bell_turn import BellTurn
from dispatcher.store.claim import Claim, Claimed, JoinLimits, Paused
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.levers import Levers
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.script import ScriptCaller
from dispatcher.store.settlement import BreakerSignal, Settlement
from dispatcher.store.slots import find_slots, forget_empty, slot_name, slot_names, slots_in_use, split_slot
from dispatcher.store.waiting_batches import WaitingBatches, scan_destinations
from dispatcher.tasks.transport import intake
from tests.support.clock import Clock
from tests.support.open_store import OpenStore

pytestmark = pytest.mark.every_server

NAME = "segment"
DAY = 24 * 3600.0
WEEK = 7 * DAY


def put(
    store: OpenStore, slot: int, start: int = 0, *, journal: str = "", payloads: Sequence[bytes] = (b"1", b"2")
) -> Put:
    """Put a batch of a journal that belongs to the slot, as a relay does."""
    journal = journal or f"{slot}-a"
    store.progress([NAME], journal, slots={NAME: slot})
    one = Put(
        destination=NAME,
        journal=journal,
        start=start,
        end=start + 10,
        packed=pack(payloads),
        count=len(payloads),
        example="shop.order.paid",
        slot=slot,
    )
    assert store.put([one]) == [None]
    return one


def claim(store: OpenStore, slot: int, batch_id: str, *, lease_seconds: float = 60) -> Claim:
    found = store.claim(NAME, batch_id, token=f"t{slot}", lease_seconds=lease_seconds, slot=slot)
    assert isinstance(found, Claim), found
    return found


def kill(store: OpenStore, one: Put, *payloads: bytes) -> None:
    """Have all events of a batch become dead letters."""
    dead = [DeadEvent("refused", "it said no", payload) for payload in payloads]
    assert store.settle(claim(store, one.slot, one.batch_id), Settlement(dead=dead, error="it said no")) is not None


def test_a_doorbell_leads_to_the_slot_in_which_its_batch_waits(store: OpenStore) -> None:
    for slot in (0, 3):
        one = put(store, slot)
        again = Put(**{**{name: getattr(one, name) for name in one.__dataclass_fields__}, "start": 10, "end": 20})
        assert store.put_and_ring([again], here=True) == ([None], [])
        (message,) = store.pool.execute("LRANGE", NAME, 0, -1)
        store.pool.execute("DEL", NAME)
        taken = intake.doorbell(NAME, message)
        word = taken["headers"]["id"].removeprefix(f"{NAME}.")
        batch_id, found = split_slot(word)
        assert found == slot
        limits = JoinLimits(events=10, bytes=1000)
        claimed = store.claim_all(NAME, batch_id, token="t", lease_seconds=60, limits=limits, slot=found)
        assert isinstance(claimed, Claimed)
        assert [(each.batch_id, each.slot, each.destination) for each in claimed.claims] == [
            (again.batch_id, slot, NAME),
            (one.batch_id, slot, NAME),
        ]
        settled = store.settle_all([(each, Settlement(delivered=2)) for each in claimed.claims], here=True)
        assert None not in settled
    assert store.counts([NAME])[NAME].delivered == 8


def test_slots_sum_up_to_one_ledger(store: OpenStore) -> None:
    batches = [put(store, slot) for slot in (0, 1, 3)]
    assert store.settle(claim(store, 3, batches[2].batch_id), Settlement(delivered=2))
    claim(store, 1, batches[1].batch_id)
    counts = store.counts([NAME])[NAME]
    assert (counts.accepted, counts.queued, counts.claimed, counts.delivered, counts.batches) == (6, 2, 2, 2, 2)
    assert counts.slots == (0, 1, 3)
    assert counts.closes
    assert counts.oldest_ms is not None
    assert scan_destinations(store.pool) == [NAME]


def test_a_journal_keeps_its_slot_when_their_number_changes(store: OpenStore) -> None:
    put(store, 2, journal="7-a")
    for wanted in (0, 1, 2, 5):
        found = store.progress([NAME], "7-a", slots={NAME: wanted})[NAME]
        assert (found.put, found.open, found.slot) == (10, 0, 2)
    # Even where slot 0 has lost its memory: the relay that lives knows.
    store.pool.execute("DEL", keys.SLOTS.of(NAME))
    assert store.progress([NAME], "7-a", slots={NAME: 2})[NAME].put == 10
    assert slots_in_use(store.pool, NAME) == [0, 2]
    assert store.progress([NAME], "8-b", slots={NAME: 5})[NAME].slot == 5
    assert store.progress([NAME], "9-c")[NAME].slot == 0
    assert slots_in_use(store.pool, NAME) == [0, 2, 5]


def test_one_slot_asks_no_more_of_redis_than_a_destination(store: OpenStore) -> None:
    store.progress([NAME], "7-a")
    assert store.pool.execute("EXISTS", keys.SLOTS.of(NAME)) == 0
    sent: list[int] = []
    execute_many = store.pool.execute_many
    store.pool.execute_many = lambda commands: sent.append(len(commands)) or execute_many(commands)  # type: ignore[method-assign, func-returns-value]
    store.progress([NAME, "emit"], "7-a")
    store.counts([NAME])
    assert sent == [2, 1]


def test_a_pause_holds_in_all_slots_also_in_one_that_comes_into_use_later(store: OpenStore) -> None:
    levers = Levers(store.pool)
    first = put(store, 1)
    levers.pause(NAME, reason="the vendor moves")
    later = put(store, 2)
    for one in (first, later):
        found = store.claim(NAME, one.batch_id, token="t", lease_seconds=60, slot=one.slot)
        assert found == Paused(None, "the vendor moves")
    assert levers.resume(NAME)
    for one in (first, later):
        claim(store, one.slot, one.batch_id)


def test_a_pause_that_ended_while_a_slot_was_not_in_use_is_over_there_too(store: OpenStore) -> None:
    levers = Levers(store.pool)
    put(store, 2)
    levers.pause(NAME)
    store.pool.execute("ZREM", keys.SLOTS.of(NAME), 2)
    levers.resume(NAME)
    one = put(store, 2, 10)
    claim(store, 2, one.batch_id)


def test_retry_brings_back_what_is_parked_in_every_slot(store: OpenStore) -> None:
    for slot in (0, 1, 2):
        found = claim(store, slot, put(store, slot).batch_id)
        signal = BreakerSignal(result="setup", first_seconds=600)
        parked = Settlement(left=found.payloads, due_ms=2**45, burns_attempt=True, error="a 401", signal=signal)
        assert store.settle(found, parked) is not None
    counts = store.counts([NAME])[NAME]
    assert (counts.parked, counts.breaker.state, counts.breaker.opened) == (6, "open", 3)
    retried = Levers(store.pool).retry(NAME)
    assert (retried.outcome, retried.batches, retried.breaker_was_open) == ("retried", 3, True)
    assert store.counts([NAME])[NAME].breaker.state == "closed"


def test_an_open_breaker_of_one_slot_shows(store: OpenStore) -> None:
    found = claim(store, 2, put(store, 2).batch_id)
    put(store, 0)
    signal = BreakerSignal(result="setup", first_seconds=600)
    store.settle(found, Settlement(left=found.payloads, due_ms=2**45, error="a 401", signal=signal))
    counts = store.counts([NAME])[NAME]
    assert (counts.breaker.state, counts.breaker.error, counts.last_error) == ("open", "a 401", "a 401")


def test_dead_letters_of_all_slots_are_one_list(store: OpenStore) -> None:
    letters = DeadLetters(store.pool)
    for slot, start in ((0, 0), (2, 0), (1, 0), (0, 10), (2, 10)):
        kill(store, put(store, slot, start), b'{"n":%d}' % (10 * slot + start), b"{}")
        time.sleep(0.002)  # the streams' ids are times, by which they are ordered
    found = list(letters.select(NAME, DeadLetterFilter()))
    assert [split_slot(one.id)[1] for one in found] == [0, 0, 2, 2, 1, 1, 0, 0, 2, 2]
    assert [one.id for one in letters.read(NAME, [one.id for one in found])] == [one.id for one in found]
    (chosen,) = letters.select(NAME, DeadLetterFilter(ids=[found[2].id]))
    assert chosen == found[2]
    after = list(letters.select(NAME, DeadLetterFilter(after=(found[3].id, NAME))))
    assert after == found[4:]
    assert letters.replay(found[:6]) == 6
    assert letters.drop(NAME, [one.id for one in found[6:9]]) == 3
    counts = store.counts([NAME])[NAME]
    assert (counts.dead, counts.queued, counts.filtered) == (1, 6, 3)
    waiting = list(WaitingBatches(store.pool).select(NAME))
    assert sorted(split_slot(one.id)[1] for one in waiting) == [0, 1, 2]
    # A destination knows what it has by these names, and in two slots events may die in the same millisecond.
    names = {slot: name for name, slot in (split_slot(one.id) for one in waiting)}
    assert names[1].endswith(".1")
    assert names[2].endswith(".2")


def test_dead_letters_in_a_file_come_back_into_the_slot_that_counts_them(store: OpenStore) -> None:
    letters = DeadLetters(store.pool)
    kill(store, put(store, 2), b"1", b"2")
    overdue = letters.overdue(NAME, max_bytes=1, max_age_seconds=0, every_seconds=60, slot=2)
    in_file = list(letters.read(NAME, overdue))
    assert letters.mark_filed(NAME, overdue) == 2
    assert letters.restore(list(enumerate(in_file)), "dead-1")
    assert letters.restored_until(NAME, "dead-1") == 2
    counts = store.counts([NAME])[NAME]
    assert (counts.accepted, counts.dead, counts.dead_filed, counts.queued) == (2, 0, 0, 2)


def test_waiting_batches_of_all_slots_are_one_list_and_can_be_moved(store: OpenStore) -> None:
    batches = WaitingBatches(store.pool)
    for slot in (0, 1, 2):
        put(store, slot, payloads=[b'{"slot":%d}' % slot])
    found = list(batches.select(NAME))
    assert sorted(one.id for one in found) == ["0-a-0", "1-a-0@1", "2-a-0@2"]
    assert batches.events(NAME, "2-a-0@2") == (b'{"slot":2}',)
    assert batches.transfer(NAME, "tracking_log", [one.id for one in found]) == (3, 3)
    assert store.counts([NAME])[NAME].filtered_by_reason == {"transferred": 3}
    assert store.counts(["tracking_log"])["tracking_log"].queued == 3


def test_the_bell_looks_into_slots_that_are_set_and_into_those_that_are_in_use(store: OpenStore, clock: Clock) -> None:
    put(store, 5)
    turn = BellTurn(store.pool, {NAME: 2}, every_seconds=60)
    assert turn.find_slots() == [NAME, f"{NAME}#1", f"{NAME}#5"]
    assert turn.find_slots() == [f"{NAME}#5"]
    clock.now += 6
    assert store.due(NAME, idle=None, slot=5) is None, "the store rings itself"
    (message,) = store.pool.execute("LRANGE", NAME, 0, -1)
    assert intake.doorbell(NAME, message)["headers"]["id"] == f"{NAME}.5-a-0@5"
    ring = store.due(NAME, idle=True, slot=5)
    assert ring is None, "another bell has had its turn"


def test_the_bell_says_that_a_queue_is_another_key(store: OpenStore) -> None:
    put(store, 0)
    store.pool.execute("SET", NAME, "not a list")
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
        store.due(NAME, idle=None)


def test_an_empty_slot_is_forgotten_and_its_ledger_is_not(store: OpenStore, clock: Clock) -> None:
    for slot in (1, 2, 3):
        one = put(store, slot)
        found = claim(store, slot, one.batch_id)
        store.settle(found, Settlement(delivered=1, filtered={"consent": 1}))
    put(store, 3, 10)
    before = store.counts([NAME])[NAME]
    clock.now += WEEK
    assert forget_empty(store.pool, {NAME: 2}, clock=clock) == [], "a relay may still have a journal there"
    clock.now += 2 * DAY
    # Slot 1 is set, and in slot 3 something waits.
    assert forget_empty(store.pool, {NAME: 2}, clock=clock) == [f"{NAME}#2"]
    after = store.counts([NAME])[NAME]
    assert after.slots == (0, 1, 3)
    assert (after.accepted, after.delivered, after.filtered_by_reason) == (
        before.accepted,
        before.delivered,
        before.filtered_by_reason,
    )
    assert store.pool.execute("EXISTS", *(key.of(slot_name(NAME, 2)) for key in (keys.COUNTS, keys.RETIRED))) == 0


def test_a_ledger_counts_once_although_its_slot_was_half_forgotten(store: OpenStore, clock: Clock) -> None:
    one = put(store, 2)
    store.settle(claim(store, 2, one.batch_id), Settlement(delivered=2))
    assert ScriptCaller(store.pool).call(script.RETIRE, slot_name(NAME, 2), {}) is not None  # and is killed then
    put(store, 2, 10, payloads=[b"3"])
    store.settle(claim(store, 2, "2-a-a"), Settlement(delivered=1))
    clock.now += WEEK + 2 * DAY
    assert forget_empty(store.pool, {NAME: 1}, clock=clock) == [f"{NAME}#2"]
    assert forget_empty(store.pool, {NAME: 1}, clock=clock) == []
    # Another process that has read the same ledger comes later.
    late = {"slot": 2, "ledger": {"accepted": 3, "delivered": 3}}
    assert ScriptCaller(store.pool).call(script.ABSORB, NAME, late) == 0
    assert store.counts([NAME])[NAME].delivered == 3


def test_a_batch_that_comes_while_its_slot_is_forgotten_is_not_forgotten(
    store: OpenStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = put(store, 2)
    store.settle(claim(store, 2, one.batch_id), Settlement(delivered=2))
    caller = ScriptCaller.call

    def call(self: ScriptCaller, which: script.Script, *rest: object) -> object:
        answer = caller(self, which, *rest)  # type: ignore[arg-type]
        if which is script.RETIRE:
            late = Put(destination=NAME, journal="2-a", start=10, end=20, packed=pack([b"3"]), count=1, slot=2)
            assert store.put([late]) == [None]
        return answer

    monkeypatch.setattr(slots, "ScriptCaller", type("Late", (ScriptCaller,), {"call": call}))
    clock.now += WEEK + 2 * DAY
    forget_empty(store.pool, {NAME: 1}, clock=clock)
    counts = store.counts([NAME])[NAME]
    assert (counts.slots, counts.queued, counts.delivered) == ((0, 2), 1, 2)


def test_what_somebody_has_put_among_the_slots_is_passed_over(store: OpenStore) -> None:
    put(store, 2)
    store.pool.execute("ZADD", keys.SLOTS.of(NAME), 1, "not a number", 2, b"\xff", 3, "-1", 4, "0")
    assert slots_in_use(store.pool, NAME) == [0, 2]
    assert store.counts([NAME])[NAME].slots == (0, 2)
    assert store.progress([NAME], "2-a")[NAME].slot == 2
    turn = BellTurn(store.pool, {NAME: 1}, every_seconds=60)
    assert turn.find_slots() == [NAME, f"{NAME}#2"]


def test_a_user_who_may_not_see_the_slots_sees_those_that_are_set(store: OpenStore) -> None:
    store.pool.execute("ACL", "SETUSER", "half", "on", ">word", "~*", "+@all", "-zrange")
    url = store.pool.url.replace("redis://", "redis://half:word@")
    pool = RedisPool(url, timeout_seconds=30)
    assert slot_names(find_slots(pool, {NAME: 2})) == [NAME, f"{NAME}#1"]
    pool.close()
