"""Refusals: messages of the broker that are not ours, counted and logged without a word of their contents."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

# Seconds between two lines in the log: a program that sends one such message may send a million.
_QUIET_SECONDS: Final = 60.0


class Refusals:
    """Counts by queue. Safe in threads.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        # When each queue was last logged, and its count then.
        self._logged: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def note(self, queue: str) -> None:
        """Count one more that was dropped from this queue. Logs that at once, then once a minute while more come."""
        with self._lock:
            self._counts[queue] += 1
            now, count = self._clock(), self._counts[queue]
            logged_at, logged = self._logged.get(queue, (now - _QUIET_SECONDS, 0))
            if now - logged_at < _QUIET_SECONDS:
                return
            self._logged[queue] = (now, count)
        # The message may hold anybody's data, so none of it is logged.
        logger.error(
            "dropped from %s what is not ours: %d messages since, %d in all. Another program, or another version of "
            "dispatcher, uses the same broker: give dispatcher a database of its own",
            queue,
            count - logged,
            count,
        )

    def counts(self) -> dict[str, int]:
        """How many were dropped from each queue since this process started."""
        with self._lock:
            return dict(self._counts)


#: Of this process.
REFUSALS = Refusals()
