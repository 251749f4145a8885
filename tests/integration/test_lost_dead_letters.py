"""A Redis that lost its last moments gets what a journal still has of them again, dead letters too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.relay.relay import Relay
from dispatcher.relay.relayed_outbox import PutRefusedError
from dispatcher.store import keys
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.packing import pack
from dispatcher.store.put import Progress, Put
from dispatcher.store.settlement import Settlement
from dispatcher.tracker import Tracker
from tests.support.deliveries import LOG, SEGMENT, take_all
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for


def bury_all(site: Site, destination: str) -> None:
    with site.redis.client() as client:
        ids = client.zrange(keys.SINCE.of(destination), 0, -1)
    for batch_id in ids:
        claim = site.store.claim(destination, batch_id.decode(), token="test", lease_seconds=60)
        assert isinstance(claim, Claim)
        dead = [DeadEvent("invalid", "it was refused", payload) for payload in claim.payloads]
        assert site.store.settle(claim, Settlement(dead=dead))


class WatchedStore(BatchStore):
    """A store that keeps its latest answer to a relay."""

    answer: Mapping[str, Progress]

    def progress(self, destinations: Sequence[str], journal: str, **slots: Any) -> dict[str, Progress]:
        found = super().progress(destinations, journal, **slots)
        self.answer = found
        return found


def test_dead_letters_of_the_lost_moments_are_restored(site: Site, tmp_path: Path) -> None:
    site.environ |= {"DISPATCHER_RELAY__MODE": "external", "DISPATCHER_STRICT": "false"}
    tracker = Tracker(site.settings())
    for data in ({"n": 0}, {"n": 1}, {"n": 2}, {"n": object()}, {"n": object()}):
        tracker.emit("shop.order.paid", data)
    site.redis.save_to(tmp_path / "before")
    pool = RedisPool(site.redis.url, timeout_seconds=30)
    store = WatchedStore(pool)
    relay = Relay(site.settings(), store=store)
    wait_for(lambda: relay.step() == 0 and relay.is_drained())
    take_all(site, LOG)
    bury_all(site, SEGMENT)
    assert (site.counts(SEGMENT).dead, site.counts(NOT_TAKEN).dead) == (3, 2)

    def has_learned() -> bool:
        relay.step()
        return store.answer[LOG].open == -1

    wait_for(has_learned, what="the relay to learn what is settled")
    site.redis.bring_back(tmp_path / "before")

    def is_put_again() -> bool:
        with suppress(StoreUnavailableError, PutRefusedError):
            relay.step()
        return (site.counts(SEGMENT).waiting, site.counts(NOT_TAKEN).dead) == (3, 2)

    wait_for(is_put_again, what=lambda: f"what was lost: {site.counts(SEGMENT)}, {site.counts(NOT_TAKEN)}")
    relay.close()
    tracker.close()
    pool.close()
    assert site.counts(LOG).accepted == 0
    site.assert_ledger_closes()


def test_a_batch_with_dead_letters_is_unsettled_while_redis_may_lose_them(
    redis_server: RedisServer,
) -> None:
    now = 1_000_000.0
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    store = BatchStore(pool, clock=lambda: now)

    def first_open() -> int:
        return store.progress([LOG], "7-a")[LOG].open

    for start in (0, 10, 20):
        store.put([Put(destination=LOG, journal="7-a", start=start, end=start + 10, packed=pack([b"{}"]), count=1)])
    for start, outcome in (
        (0, Settlement(delivered=1)),
        (10, Settlement(dead=[DeadEvent("invalid", "no", b"{}")])),
        (20, Settlement(delivered=1)),
    ):
        claim = store.claim(LOG, f"7-a-{start:x}", token="t", lease_seconds=60)
        assert isinstance(claim, Claim)
        assert store.settle(claim, outcome)
    assert first_open() == 10
    now += 9
    store.put([Put(destination=LOG, journal="7-a", start=30, end=40, dead=[DeadEvent("too_large", "no", b"{}")])])
    assert first_open() == 10
    now += 2
    assert first_open() == 30
    now += 9
    assert first_open() == -1
    pool.close()
