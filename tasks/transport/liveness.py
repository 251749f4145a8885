"""Pulse: when this worker's consumer was last seen to take doorbells, or to be ready for them."""

from __future__ import annotations

import time


class Pulse:
    """A time on ``time.monotonic``'s clock. Any thread may beat and look."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def beat(self) -> None:
        """Redis has answered the consumer, or a delivery has ended."""
        self.at = time.monotonic()


#: That of this process: a worker has one consumer.
PULSE = Pulse()
