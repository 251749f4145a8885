"""Pace: no more than so many a second, over any length of time."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Spreads work over time. One thread at a time.

    Args:
        rate: How many a second.
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
        """Wait until ``count`` more may be sent. The time after a pause of the caller's own is not made up for."""
        now = self._clock()
        if self._free_at > now:
            self._sleep(self._free_at - now)
        self._free_at = max(now, self._free_at) + count / self._rate

    def portion(self, most: int) -> int:
        """How many to send at once: a second's worth, at least 1 and at most ``most``."""
        return max(1, min(most, int(self._rate)))
