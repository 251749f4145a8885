"""LatestSnapshot: one snapshot for all who want one within some seconds, scrapes and pushes alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.monitoring.snapshot import Snapshot


class LatestSnapshot:
    """Keeps the last snapshot. Safe in threads: those that ask at the same time wait for one snapshot.

    Args:
        take_snapshot: May block; called by one thread at a time.
        max_age_seconds: For so long one snapshot answers everybody.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        take_snapshot: Callable[[], Snapshot],
        *,
        max_age_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._take_snapshot = take_snapshot
        self._max_age = max_age_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: tuple[float, Snapshot] | None = None

    def get(self) -> Snapshot:
        """The latest snapshot, or a new one if that is too old. May block."""
        with self._lock:
            if self._latest is None or self._clock() - self._latest[0] >= self._max_age:
                snapshot = self._take_snapshot()
                # Its age counts from its end: one that took long because Redis is silent would be old already.
                self._latest = (self._clock(), snapshot)
            return self._latest[1]
