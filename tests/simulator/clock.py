"""Clock: the time of a history, which passes only when the history says so."""

from __future__ import annotations

from typing import Final

# Any time will do; this is a round number of seconds since 1970.
_START: Final = 1_800_000_000.0


class Clock:
    """Replaces the module ``time`` in the simulated code, and is the store's clock too."""

    def __init__(self) -> None:
        self.now = _START

    def reset(self) -> None:
        """Begin another history."""
        self.now = _START

    def time(self) -> float:
        """Seconds since 1970."""
        return self.now

    monotonic = time

    def time_ns(self) -> int:
        """Nanoseconds since 1970."""
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        """Return at once: a simulated process has no other threads to wait for."""
