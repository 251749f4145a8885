"""Deliveries without a real worker: the test takes what waits in the batch store."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from dispatcher.destinations.base import Batch
from dispatcher.store import keys
from dispatcher.store.claim import Claim
from dispatcher.store.settlement import Settlement
from dispatcher.tasks.destinations.tracking_log import TrackingLog
from tests.support.site import Site

LOG, SEGMENT = "tracking_log", "segment"


def take_all(site: Site, destination: str = LOG) -> list[dict[str, Any]]:
    """Claim and settle everything that waits for a destination. Returns the events, decoded, batch by batch."""
    found: list[dict[str, Any]] = []
    with site.redis.client() as client:
        ids = client.zrange(keys.SINCE.of(destination), 0, -1)
    for batch_id in ids:
        claim = site.store.claim(destination, batch_id.decode(), token="test", lease_seconds=60)
        assert isinstance(claim, Claim), claim
        found += [json.loads(payload) for payload in claim.payloads]
        assert site.store.settle(claim, Settlement(delivered=len(claim.payloads)))
    return found


def take_numbers(site: Site, destination: str = LOG) -> Counter[int]:
    """Like ``take_all``. Returns how often each number ``n`` in the events' data came."""
    return Counter(event["data"]["n"] for event in take_all(site, destination))


def take_everything(site: Site) -> Counter[int]:
    """Like ``take_numbers`` for the tracking log, with the events in outboxes of dead processes too."""
    site.relay_once()
    found = take_numbers(site)
    site.assert_ledger_closes()
    return found


def each_once(count: int) -> Counter[int]:
    """The result of ``take_numbers`` if each number below ``count`` came once."""
    return Counter(range(count))


def deliver_to_log(site: Site, destination: TrackingLog) -> None:
    """Deliver everything that is queued for the log, as a worker would."""
    with site.redis.client() as client:
        ids = client.zrange(keys.SINCE.of(LOG), 0, -1)
    for batch_id in ids:
        claim = site.store.claim(LOG, batch_id.decode(), token="t", lease_seconds=60)
        assert isinstance(claim, Claim), claim
        again = claim.maybe_delivered
        destination.deliver(Batch(destination=LOG, id=claim.batch_id, payloads=claim.payloads, maybe_delivered=again))
        assert site.store.settle(claim, Settlement(delivered=len(claim.payloads)))
