"""Batches that are claimed together, and the doorbells that follow the work: one ring at a time for a destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store import keys
from dispatcher.store.claim import BreakerOpen, Claim, Claimed, JoinLimits, Paused
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.doorbell import Ring
from dispatcher.store.levers import Levers
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import BreakerSignal, Settled, Settlement
from dispatcher.tasks.transport import intake
from tests.support.clock import Clock
from tests.support.open_store import OpenStore
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.every_server

NAME = "segment"
LEASE = 60.0
LIMITS = JoinLimits(events=10, bytes=10_000)


@pytest.fixture(autouse=True)
def _ledger_closes(store: OpenStore) -> Iterator[None]:
    yield
    assert store.counts([NAME])[NAME].closes


def a_put(start: int, *payloads: bytes, example: str = "shop.order.paid") -> Put:
    packed = pack(payloads)
    return Put(
        destination=NAME,
        journal="7-a",
        start=start,
        end=start + 10,
        packed=packed,
        count=len(payloads),
        example=example,
    )


def put(store: OpenStore, start: int, events: int = 2, *, size: int = 2) -> str:
    one = a_put(start, *(b"%0*d" % (size, number) for number in range(events)))
    assert store.put([one]) == [None]
    return one.batch_id


def take(store: OpenStore, batch_id: str, *, token: str = "t", limits: JoinLimits | None = LIMITS) -> Claimed:  # noqa: S107
    found = store.claim_all(NAME, batch_id, token=token, lease_seconds=LEASE, limits=limits)
    assert isinstance(found, Claimed), found
    return found


def ids(claimed: Claimed) -> list[str]:
    return [claim.batch_id for claim in claimed.claims]


def settle(store: OpenStore, claims: Sequence[Claim]) -> list[Settled | None]:
    return store.settle_all([(claim, Settlement(delivered=len(claim.payloads))) for claim in claims])


def doorbells(store: OpenStore) -> list[str]:
    """The batches that the doorbells in the queue name, the first one first; as a worker takes them in."""
    messages = store.pool.execute("LRANGE", NAME, 0, -1)
    return [intake.doorbell(NAME, message)["headers"]["id"] for message in reversed(messages)]


def test_what_waits_is_claimed_together_the_oldest_first(store: OpenStore, clock: Clock) -> None:
    first, second, third = (put(store, start) for start in (0, 10, 20))
    claimed = take(store, second)
    assert ids(claimed) == [second, first, third]
    assert claimed.ring is None
    assert [claim.payloads for claim in claimed.claims] == [(b"00", b"01")] * 3
    assert store.counts([NAME])[NAME].claimed == 6
    assert settle(store, claimed.claims) == [Settled()] * 3
    counts = store.counts([NAME])[NAME]
    assert (counts.delivered, counts.waiting, counts.batches) == (6, 0, 0)


def test_a_claim_holds_no_more_than_its_limits_and_rings_for_the_rest(store: OpenStore, clock: Clock) -> None:
    batches = [put(store, start, 4) for start in range(16, 96, 16)]
    clock.advance(1)
    claimed = take(store, batches[0])
    assert ids(claimed) == batches[:2]
    assert claimed.ring == Ring(destination=NAME, batch_id=batches[2], count=4, example="shop.order.paid")
    large = put(store, 112, 1, size=9_990)
    clock.advance(1)
    claimed = take(store, large)
    assert ids(claimed) == [large]


def test_one_batch_may_have_more_than_the_limits(store: OpenStore) -> None:
    large = put(store, 0, 50)
    put(store, 10)
    assert ids(take(store, large)) == [large]


def test_without_limits_batches_come_one_by_one_and_each_claim_rings(store: OpenStore) -> None:
    first, second = put(store, 0), put(store, 10)
    claimed = take(store, first, limits=None)
    assert ids(claimed) == [first]
    assert claimed.ring is not None
    assert claimed.ring.batch_id == second


def test_a_ring_for_a_batch_that_is_gone_gets_what_else_waits(store: OpenStore, clock: Clock) -> None:
    gone, waiting = put(store, 0), put(store, 10)
    settle(store, take(store, gone, limits=None).claims)
    assert ids(take(store, gone)) == [waiting]
    assert store.claim_all(NAME, gone, token="t", lease_seconds=LEASE, limits=LIMITS) == "settled"
    assert store.claim_all(NAME, waiting, token="t", lease_seconds=LEASE, limits=LIMITS) == "claimed"


def test_parked_batches_that_are_due_are_taken_along(store: OpenStore, clock: Clock) -> None:
    parked, later = put(store, 0), put(store, 10)
    for batch_id, seconds in ((parked, 5), (later, 60)):
        claim = store.claim(NAME, batch_id, token="t", lease_seconds=LEASE)
        assert isinstance(claim, Claim)
        due_ms = int((clock.now + seconds) * 1000)
        store.settle(claim, Settlement(left=claim.payloads, due_ms=due_ms, error="503"))
    clock.advance(6)
    new = put(store, 20)
    claimed = take(store, new)
    assert [(claim.batch_id, claim.attempts) for claim in claimed.claims] == [(new, 0), (parked, 1)]


def test_a_batch_over_which_a_lease_was_lost_comes_alone(store: OpenStore, clock: Clock) -> None:
    batches = [put(store, start) for start in (0, 10, 20)]
    assert len(take(store, batches[0]).claims) == 3
    clock.advance(LEASE + 1)
    new = put(store, 30)
    claimed = take(store, new)
    assert ids(claimed) == [new]
    assert claimed.ring is not None
    for batch_id in batches:
        claimed = take(store, claimed.ring.batch_id if claimed.ring else batch_id)
        assert [claim.maybe_delivered for claim in claimed.claims] == [True]
        assert settle(store, claimed.claims)[0] is not None
        claimed = Claimed([], [], store.due(NAME, idle=False))
        store.end_turn(NAME)
    assert store.counts([NAME])[NAME].delivered == 6


def test_what_may_have_been_delivered_is_taken_along_and_marked(store: OpenStore, clock: Clock) -> None:
    """A store that has lost its last second gets many batches again, which must not come one by one."""
    slow, again = put(store, 16), [replace(a_put(start, b"1"), again=True) for start in (32, 48)]
    assert store.put(again) == [None, None]
    new = put(store, 64)
    take(store, slow, limits=None)
    clock.advance(LEASE)
    (held,) = take(store, slow, limits=None).claims
    store.settle(held, Settlement(left=held.payloads, due_ms=int(clock.now * 1000), error="503"))
    claims = take(store, new).claims
    lost = [one.batch_id for one in again]
    assert [(one.batch_id, one.maybe_delivered) for one in claims] == [
        (new, False),
        *((one, True) for one in lost),
        (slow, True),
    ]


def test_a_batch_whose_size_is_unknown_comes_alone(store: OpenStore) -> None:
    """A relay of an earlier version has put it."""
    old, new = put(store, 0), put(store, 10)
    store.pool.execute("HDEL", keys.BATCH.of(NAME, old), "bytes")
    assert ids(take(store, new)) == [new]
    assert ids(take(store, new)) == [old]


def test_one_lost_lease_costs_the_others_nothing(store: OpenStore, clock: Clock) -> None:
    first, second = put(store, 0), put(store, 10)
    claimed = take(store, first)
    clock.advance(LEASE)
    taken_over = take(store, second, token="other")
    assert ids(taken_over) == [second]
    assert settle(store, claimed.claims) == [Settled(), None]
    assert settle(store, taken_over.claims) == [Settled()]
    counts = store.counts([NAME])[NAME]
    assert (counts.delivered, counts.waiting) == (4, 0)


def test_each_batch_has_outcomes_of_its_own(store: OpenStore, clock: Clock) -> None:
    first, second, third = (put(store, start) for start in (16, 32, 48))
    one, two, three = take(store, first).claims
    due_ms = int((clock.now + 5) * 1000)
    refused = Settlement(dead=[DeadEvent("invalid", "no", payload) for payload in two.payloads])
    later = Settlement(delivered=1, left=three.payloads[1:], due_ms=due_ms, error="503")
    store.settle_all([(one, Settlement(delivered=2)), (two, refused), (three, later)])
    counts = store.counts([NAME])[NAME]
    assert (counts.delivered, counts.dead, counts.parked, counts.batches) == (3, 2, 1, 1)
    clock.advance(5)
    (again,) = take(store, second).claims
    assert (again.batch_id, again.payloads, again.attempts, again.first) == (third, (b"01",), 1, 1)


def test_the_probe_comes_alone_and_what_else_waits_is_parked_until_then(store: OpenStore, clock: Clock) -> None:
    batches = [put(store, start) for start in (0, 10, 20)]
    (claim,) = take(store, batches[0], limits=None).claims
    signal = BreakerSignal(result="transient", failures=1, first_seconds=5)
    left = Settlement(left=claim.payloads, due_ms=int(clock.now * 1000), error="503", signal=signal)
    assert store.settle_all([(claim, left)]) == [Settled("opened")]
    found = store.claim_all(NAME, batches[1], token="t", lease_seconds=LEASE, limits=LIMITS)
    assert isinstance(found, BreakerOpen)
    assert store.counts([NAME])[NAME].parked == 6
    clock.advance(5)
    probe = take(store, batches[1])
    assert (len(probe.claims), probe.ring) == (1, None)
    closing = Settlement(delivered=2, signal=BreakerSignal(result="ok"))
    (settled,) = store.settle_all([(probe.claims[0], closing)])
    assert settled is not None
    assert settled.breaker == "closed"
    assert settled.ring is not None
    assert len(take(store, settled.ring.batch_id).claims) == 2


def test_a_paused_destination_parks_all_that_is_queued(store: OpenStore) -> None:
    batches = [put(store, start) for start in (0, 10, 20)]
    levers = Levers(store.pool)
    levers.pause(NAME)
    assert isinstance(store.claim_all(NAME, batches[0], token="t", lease_seconds=LEASE, limits=LIMITS), Paused)
    assert store.counts([NAME])[NAME].parked == 6
    levers.resume(NAME)
    assert len(take(store, batches[0]).claims) == 3


def test_a_put_rings_only_where_no_ring_is_under_way(store: OpenStore, clock: Clock) -> None:
    settle(store, take(store, put(store, 0)).claims)
    for start in range(10, 60, 10):
        store.put_and_ring([a_put(start, b"1")], here=True)
    assert doorbells(store) == ["segment.7-a-a"]
    claimed = take(store, "7-a-a")
    assert len(claimed.claims) == 5
    settle(store, claimed.claims)
    store.put_and_ring([a_put(60, b"1")], here=True)
    assert doorbells(store) == ["segment.7-a-a", "segment.7-a-3c"]


def test_a_put_to_another_broker_says_whether_to_ring(store: OpenStore) -> None:
    settle(store, take(store, put(store, 0)).claims)
    puts = [a_put(10, b"1"), a_put(20, b"2")]
    positions, rings = store.put_and_ring(puts, here=False)
    assert (positions, rings) == ([None, None], [puts[0].ring])
    assert store.put_and_ring(puts, here=False) == ([None, None], [])


def test_as_long_as_no_worker_rings_for_what_it_leaves_each_put_rings(store: OpenStore) -> None:
    """Workers of an earlier version take the batch that is named, and nothing else."""
    puts = [a_put(start, b"1") for start in (0, 10, 20)]
    store.put_and_ring(puts, here=True)
    assert doorbells(store) == [f"segment.{one.batch_id}" for one in puts]


def test_places_fill_one_after_the_other_while_full_deliveries_wait(store: OpenStore, clock: Clock) -> None:
    settle(store, take(store, put(store, 0)).claims)
    puts = [a_put(start, *[b"1"] * 10) for start in range(10, 170, 10)]
    store.put_and_ring(puts, here=True)
    tasks = 0
    while bell := store.pool.execute("RPOP", NAME):
        tasks += 1
        batch_id = intake.doorbell(NAME, bell)["headers"]["id"].removeprefix("segment.")
        found = store.claim_all(NAME, batch_id, token=str(tasks), lease_seconds=LEASE, limits=LIMITS, here=True)
        assert isinstance(found, Claimed)
        assert len(found.claims) == 1
    assert tasks == len(puts)
    assert store.counts([NAME])[NAME].claimed == 160


def test_less_than_a_full_delivery_waits_for_those_under_way_but_not_long(store: OpenStore, clock: Clock) -> None:
    claimed = take(store, put(store, 0))
    store.put_and_ring([a_put(10, b"1")], here=True)
    assert doorbells(store) == []
    clock.advance(0.1)
    store.put_and_ring([a_put(20, b"1")], here=True)
    assert doorbells(store) == ["segment.7-a-14"]
    assert len(take(store, "7-a-14").claims) == 2
    store.put_and_ring([a_put(30, *[b"1"] * 10)], here=True)
    assert doorbells(store)[1:] == ["segment.7-a-1e"]
    assert len(take(store, "7-a-1e").claims) == 1
    store.put_and_ring([a_put(40, b"1")], here=True)
    assert len(doorbells(store)) == 2
    settle(store, claimed.claims)


def test_the_last_delivery_under_way_rings_for_what_it_held_back(store: OpenStore) -> None:
    claimed = take(store, put(store, 0))
    waiting = a_put(10, b"1")
    assert store.put_and_ring([waiting], here=False) == ([None], [])
    (settled,) = settle(store, claimed.claims)
    assert settled == Settled("", waiting.ring)


def test_a_ring_that_is_lost_in_an_empty_queue_is_rung_again_by_a_put(store: OpenStore, clock: Clock) -> None:
    settle(store, take(store, put(store, 0)).claims)
    store.put_and_ring([a_put(10, b"1")], here=True)
    store.pool.execute("DEL", NAME)
    clock.advance(4)
    store.put_and_ring([a_put(20, b"1")], here=True)
    assert doorbells(store) == []
    clock.advance(1)
    store.put_and_ring([a_put(30, b"1")], here=True)
    assert len(doorbells(store)) == 1


def test_the_bell_rings_at_once_for_what_nobody_was_rung_for(store: OpenStore, clock: Clock) -> None:
    claimed = take(store, put(store, 0))
    waiting = a_put(10, b"1")
    store.put_and_ring([waiting], here=True)
    assert store.due(NAME, idle=True) == waiting.ring
    settle(store, claimed.claims)


def test_a_queue_of_another_type_does_not_keep_events_out_of_the_store(store: OpenStore) -> None:
    store.pool.execute("SET", NAME, "no list")
    assert store.put_and_ring([a_put(0, b"1")], here=True) == ([None], [])
    assert store.counts([NAME])[NAME].queued == 1


@pytest.mark.parametrize("example", ['a "quoted" <name>', "Grüße\\n", "%1 %%", "a/b", "x" * 300])
def test_a_ring_of_the_store_says_what_a_ring_of_the_relay_says(store: OpenStore, example: str) -> None:
    settle(store, take(store, put(store, 0)).claims)
    one = a_put(10, b"1", b"2", example=example)
    store.put_and_ring([one], here=True)
    (message,) = store.pool.execute("LRANGE", NAME, 0, -1)
    made = intake.doorbell(NAME, message)
    assert made["headers"]["argsrepr"] == one.ring.summary
    assert made["headers"]["id"] == one.ring.task_id
    assert made["headers"]["retries"] == 0


def test_at_maxmemory_what_waits_is_claimed_together_and_settled(redis_server: RedisServer) -> None:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    store = OpenStore(pool)
    batches = [put(store, start) for start in range(0, 80, 10)]
    redis_server.call("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StoreUnavailableError, match="maxmemory"):
        store.put_and_ring([a_put(100, b"1")], here=True)
    delivered = 0
    ring: Ring | None = Ring(destination=NAME, batch_id=batches[0], count=1)
    while ring is not None:
        claimed = take(store, ring.batch_id)
        settled = settle(store, claimed.claims)
        delivered += len(claimed.claims)
        ring = claimed.ring or (settled[-1].ring if settled[-1] else None)
    assert delivered == 8
    redis_server.call("CONFIG", "SET", "maxmemory", "0")
    assert store.counts([NAME])[NAME].closes
    pool.close()
