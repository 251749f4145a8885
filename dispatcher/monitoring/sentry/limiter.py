"""Limiter: lets one report of a kind pass in an interval, and counts the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

# Kinds that are remembered. Names of errors come from anyone's code, so their number needs a limit.
_MAX_KINDS: Final = 1_000


class Limiter:
    """Lets one report of a kind pass in so many seconds. Safe in threads.

    Args:
        seconds: The interval.
        clock: Monotonic, in seconds.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._quiet: dict[Hashable, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def admit(self, kind: Hashable) -> int:
        """Whether this one may pass: how many of its kind it stands for, itself included, or 0 if it may not."""
        now = self._clock()
        with self._lock:
            until, held = self._quiet.get(kind, (now, 0))
            if now < until:
                self._quiet[kind] = (until, held + 1)
                return 0
            if len(self._quiet) >= _MAX_KINDS:
                self._quiet.clear()
            self._quiet[kind] = (now + self.seconds, 0)
            return held + 1
