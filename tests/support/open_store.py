"""A batch store that tests can look into from outside."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.batches import BatchStore
from dispatcher.store.keys import BELL


class OpenStore(BatchStore):
    """The real one, with its connections."""

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        super().__init__(pool, clock=clock)
        self.pool = pool

    def end_turn(self, destination: str) -> None:
        """Let another bell ring now: turns end by Redis' own clock, for which a test does not wait."""
        self.pool.execute("DEL", BELL.of(destination))
