"""Liveness: when this worker's consumer last took doorbells, or was ready for them."""

from __future__ import annotations

import time


class Liveness:
    """A time on ``time.monotonic``'s clock. Safe in threads."""

    def __init__(self) -> None:
        self.seen_at = time.monotonic()

    def note(self) -> None:
        """Redis has answered the consumer, or a delivery has ended."""
        self.seen_at = time.monotonic()


#: Of this process: a worker has one consumer.
LIVENESS = Liveness()
