"""Refusals: what was taken from the broker and was nothing for us, counted and said, without a word of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

# Seconds between two lines in the log: whoever sends one such message may send a million.
_QUIET_SECONDS: Final = 60.0


class Refusals:
    """Counts by queue. Any thread may note and look.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._said: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def note(self, queue: str) -> None:
        """One more was dropped from this queue. Says so at once, and then once a minute while there are more."""
        with self._lock:
            self._counts[queue] += 1
            now, count = self._clock(), self._counts[queue]
            said_at, said = self._said.get(queue, (now - _QUIET_SECONDS, 0))
            if now - said_at < _QUIET_SECONDS:
                return
            self._said[queue] = (now, count)
        # What it holds may be anybody's, so not a word of that.
        logger.error(
            "dropped from %s what is not ours: %d messages since, %d in all. Another program, or another version of "
            "dispatcher, uses the same broker: give dispatcher a database of its own",
            queue,
            count - said,
            count,
        )

    def counts(self) -> dict[str, int]:
        """How many were dropped from each queue since this process started."""
        with self._lock:
            return dict(self._counts)


#: Those of this process.
REFUSALS = Refusals()
