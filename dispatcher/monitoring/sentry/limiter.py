"""Limiter: at most one of a kind in a while, and how many there were meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Final

# Kinds remembered; the names of errors come from anyone's code, so there has to be an end to them.
_MAX_KINDS: Final = 1_000


class Limiter:
    """Counts what it does not let through. Safe in threads.

    Args:
        seconds: How long a kind stays quiet after one of it was let through.
        clock: Gives seconds that never go back.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._quiet: dict[Hashable, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def admit(self, kind: Hashable) -> int:
        """How many of the kind came since one was let through, with this one; 0 where this one is to wait."""
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
