"""History: what the small charts show, which is the last hour as the board itself has seen it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dispatcher.monitoring.snapshot import Snapshot

#: Seconds between two samples.
EVERY_SECONDS: Final = 15.0
#: Seconds that are kept.
KEPT_SECONDS: Final = 3600.0
# Destinations of which samples are kept.
_MAX_DESTINATIONS: Final = 200


class History:
    """Samples of every destination, in memory: some 100 KB for ten destinations. For one thread at a time."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, tuple[int, int]]]] = deque()

    def add(self, snapshot: Snapshot) -> bool:
        """Take a sample in, if the last one is old enough. Returns whether it did. One without Redis is left out."""
        # Half a second early is in time: readings do not come to the millisecond.
        if snapshot.problem or (self._samples and 0 <= snapshot.at - self._samples[-1][0] < EVERY_SECONDS - 0.5):
            return False
        if self._samples and snapshot.at < self._samples[-1][0]:
            self._samples.clear()  # the clock was set back
        shown = list(snapshot.destinations.items())[:_MAX_DESTINATIONS]
        self._samples.append((snapshot.at, {name: (counts.delivered, counts.waiting) for name, counts in shown}))
        while snapshot.at - self._samples[0][0] > KEPT_SECONDS:
            self._samples.popleft()
        return True

    def json(self) -> dict[str, Any]:
        """The samples: ``at_ms`` of each, and for each destination events delivered a second since the one before,
        and events that waited. None stands where nothing is known."""
        at_ms = [int(at * 1000) for at, _ in self._samples]
        names = {name for _, sample in self._samples for name in sample}
        return {
            "every_ms": int(EVERY_SECONDS * 1000),
            "kept_ms": int(KEPT_SECONDS * 1000),
            "at_ms": at_ms,
            "destinations": {name: self._series(name) for name in sorted(names)},
        }

    def _series(self, name: str) -> dict[str, list[float | int | None]]:
        per_second: list[float | int | None] = []
        waiting: list[float | int | None] = []
        before: tuple[float, int] | None = None
        for at, sample in self._samples:
            delivered, waits = sample.get(name, (None, None))
            waiting.append(waits)
            if delivered is None or before is None:
                per_second.append(None)
            else:
                # A Redis that comes back empty counts from zero again.
                per_second.append(round(max(0, delivered - before[1]) / (at - before[0]), 2))
            before = None if delivered is None else (at, delivered)
        return {"per_second": per_second, "waiting": waiting}
