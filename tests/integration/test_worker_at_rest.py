"""A worker at rest asks Redis for little, however many destinations there are, and is prompt all the same."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.batches import BatchStore
from dispatcher.store.bell_turn import BellTurn
from dispatcher.store.claim import Claim
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import Settlement
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for

LOG, SEGMENT = "tracking_log", "segment"
# A second each, as by default: the site's own settings have bells ring ten times as often.
BY_DEFAULT = {"DISPATCHER_WORKER__BELL_SECONDS": "1", "DISPATCHER_RELAY__ADOPT_SECONDS": "5"}
# Of 0.1 s, so that turns end soon.
EVERY_SECONDS = 0.1


@pytest.fixture
def pool(redis_server: RedisServer) -> Iterator[RedisPool]:
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    yield pool
    pool.close()


def commands(server: RedisServer) -> Counter[str]:
    """How often Redis has carried out each command, also in scripts."""
    with server.client() as client:
        return Counter({name: stat["calls"] for name, stat in client.info("commandstats").items()})


def put_one(pool: RedisPool, destination: str) -> str:
    put = Put(destination=destination, journal="7-a", start=0, end=10, packed=pack([b"{}"]), count=1)
    BatchStore(pool).put([put])
    return put.batch_id


def park(pool: RedisPool, destination: str, *, seconds: float) -> float:
    """Park a batch that was put. Returns when it is due, in seconds since 1970."""
    due = time.time() + seconds
    store = BatchStore(pool)
    claim = store.claim(destination, put_one(pool, destination), lease_seconds=60, token="t")
    assert isinstance(claim, Claim)
    assert store.settle(claim, Settlement(left=claim.payloads, due_ms=int(due * 1000), error="later"))
    return due


def test_redis_gets_few_commands_at_rest(site: Site) -> None:
    more = "".join(f'[destinations.more{n}]\ntype = "segment"\nwrite_key = "k"\nevents = ["*"]\n' for n in range(8))
    site.allow(["shop.*"], more=more)
    site.worker(**BY_DEFAULT)
    site.processes.dispatcher("relay", **BY_DEFAULT)
    wait_for(lambda: site.counts(LOG).workers, what="the worker to say that it is there")
    time.sleep(3)

    before, started = commands(site.redis), time.monotonic()
    time.sleep(10)
    # A bell that does not look would be quieter still.
    wait_for(lambda: (commands(site.redis) - before)["cmdstat_exists"] >= 5, what="the bell to look", every=1)
    asked = commands(site.redis) - before
    seconds = time.monotonic() - started

    # About 8: 10 destinations are announced every ten seconds; everything else comes to about three a second. Before it
    # slept, a bell alone came to 17 a second for each destination.
    assert asked.total() / seconds < 14, asked.most_common()


def test_a_parked_batch_is_rung_for_when_it_is_due(site: Site, pool: RedisPool) -> None:
    # It serves another queue, so that the doorbell stays where it can be seen.
    site.worker("-Q", SEGMENT, **BY_DEFAULT)
    due = park(pool, LOG, seconds=3)

    wait_for(lambda: site.redis.call("LLEN", LOG) == 1, what="the bell to ring")

    late = time.time() - due
    assert late >= 0
    assert late < 45, "the next look at all destinations would be a minute away"


def test_one_bell_looks_and_another_takes_over(pool: RedisPool) -> None:
    first, second = (BellTurn(pool, {LOG: 1, SEGMENT: 1}, every_seconds=EVERY_SECONDS) for _ in range(2))
    assert first.take()
    assert first.take()
    assert not second.take()

    # The first one asks no more, as after kill -9.
    wait_for(second.take, what="the turn of the bell that has ended to end as well")
    first.give_up()
    assert not first.take()


def test_bells_for_other_destinations_have_a_turn_of_their_own(pool: RedisPool) -> None:
    assert BellTurn(pool, {LOG: 1, SEGMENT: 1}, every_seconds=60).take()

    assert BellTurn(pool, {LOG: 1, SEGMENT: 1, "new": 1}, every_seconds=60).take()
    assert not BellTurn(pool, {SEGMENT: 1, LOG: 1}, every_seconds=60).take()


def test_a_bell_looks_only_where_a_batch_waits(pool: RedisPool) -> None:
    turn = BellTurn(pool, {LOG: 1, SEGMENT: 1}, every_seconds=60)
    assert turn.find_slots() == [SEGMENT, LOG], "the first look is at all of them: it finds damage in Redis"
    assert turn.find_slots() == []

    put_one(pool, SEGMENT)

    assert turn.find_slots() == [SEGMENT]


def test_a_full_redis_keeps_no_bell_from_looking(redis_server: RedisServer, pool: RedisPool) -> None:
    park(pool, SEGMENT, seconds=0)
    redis_server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        for _ in range(2):
            turn = BellTurn(pool, {LOG: 1, SEGMENT: 1}, every_seconds=60)
            assert turn.take()
            turn.find_slots()
            assert turn.find_slots() == [SEGMENT]
    finally:
        redis_server.call("CONFIG", "SET", "maxmemory", "0")
