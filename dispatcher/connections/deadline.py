"""Deadline: a point in time until which something must be done, however many steps it takes."""

from __future__ import annotations

from dispatcher.process.clock import monotonic


class Deadline:
    """A time limit that begins now, on ``time.monotonic``'s clock. It never changes, so threads may share it.

    A socket's own timeout is for each call, so that a peer which sends a byte now and then defeats it. Whoever gives
    each call only what is ``left`` is done in time.

    Args:
        seconds: How long it is.
    """

    def __init__(self, seconds: float) -> None:
        self._at = monotonic() + seconds

    def left(self) -> float:
        """The seconds that are left, more than 0.

        Raises:
            TimeoutError: None is left.
        """
        left = self._at - monotonic()
        if left <= 0:
            raise TimeoutError("the time is over")
        return left

    def within(self, seconds: float) -> Deadline:
        """This deadline, or the one in so many seconds if that comes first."""
        other = Deadline(seconds)
        return other if other._at < self._at else self
