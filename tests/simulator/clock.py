"""Clock: the time of a history, which passes only when the history says so."""

from __future__ import annotations

from typing import Final

# Any moment will do; this one is a round number of seconds since 1970.
_START: Final = 1_800_000_000.0


class Clock:
    """Stands for the module ``time`` in what is simulated, and is the store's clock too."""

    def __init__(self) -> None:
        self.now = _START

    def reset(self) -> None:
        """Begin another history."""
        self.now = _START

    def time(self) -> float:
        """Seconds since 1970."""
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        """Waiting takes no time: who waits here waits for other threads, of which there are none."""
