"""Clock: time that a test sets."""

from __future__ import annotations


class Clock:
    """A clock that stands still until a test advances it or sets ``now``. Seconds.

    Args:
        now: The time at first.
    """

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass. Also serves in place of ``time.sleep``."""
        self.now += seconds
