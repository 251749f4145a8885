"""Claimed: what workers have taken before they knew of the person, waited for until it is where it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.monitoring.units import count_text
from dispatcher.process.clock import monotonic
from dispatcher.store.waiting_batches import WaitingBatches

# Seconds between two looks at what is claimed.
_PAUSE_SECONDS: Final = 0.1


class Claimed:
    """A ``Place`` before those of the destinations: a request under way could write there behind the last look.

    Methods raise StoreUnavailableError.

    Args:
        pool: The batch store's Redis.
        request_seconds: How long one request of each destination may take.
    """

    name = "claimed"

    def __init__(self, pool: RedisPool, request_seconds: Mapping[str, float]) -> None:
        self._batches = WaitingBatches(pool)
        self._request_seconds = request_seconds

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """Nothing: what is claimed is looked at as what waits."""
        yield from ()

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Wait until they are settled, for as long as one request may take. Names what is not settled then."""
        began = monotonic()
        claimed = {name: self._claimed(name) for name in self._request_seconds}
        for name, before in claimed.items():
            watch(f"waiting for what is on its way to {name}", 0, 0)
            while (left := before & self._claimed(name)) and monotonic() - began < self._request_seconds[name]:
                time.sleep(_PAUSE_SECONDS)
            if left:
                why = f"{count_text(len(left), 'batch', 'batches')} may still be on the way there: run it again"
                yield Found(place=self.name, where=name, left=why)

    def _claimed(self, destination: str) -> set[str]:
        return {batch.id for batch in self._batches.select(destination) if batch.state == "claimed"}
