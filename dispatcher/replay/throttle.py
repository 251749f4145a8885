"""Throttle: at most so many events a second, over any length of time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Throttle:
    """Spreads work over time. One thread at a time.

    Args:
        rate: How many events a second.
        clock: Gives seconds; monotonic.
        sleep: Waits for seconds.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def wait(self, count: int) -> None:
        """Block until ``count`` more may be sent. Time that the caller spent elsewhere is not caught up."""
        now = self._clock()
        if self._free_at > now:
            self._sleep(self._free_at - now)
        self._free_at = max(now, self._free_at) + count / self._rate

    def batch_size(self, limit: int) -> int:
        """How many to send at once: what the rate allows in a second, at least 1 and at most ``limit``."""
        return max(1, min(limit, int(self._rate)))
