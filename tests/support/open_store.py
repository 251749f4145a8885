"""A batch store that tests can look into from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.batches import BatchStore
from dispatcher.store.keys import BELL
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from tests.support.redis_server import RedisServer


class OpenStore(BatchStore):
    """The real one, with its connections."""

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        super().__init__(pool, clock=clock)
        self.pool = pool

    def end_turn(self, destination: str) -> None:
        """Let another bell ring now: turns end by Redis' own clock, for which a test does not wait."""
        self.pool.execute("DEL", BELL.of(destination))


@contextmanager
def store_of_ten(server: RedisServer, destination: str, clock: Callable[[], float]) -> Iterator[OpenStore]:
    """A store with ten batches of one event for a destination, whose ledger must close at the end."""
    pool = RedisPool(server.url, timeout_seconds=30)
    store = OpenStore(pool, clock=clock)
    for start in range(0, 100, 10):
        put = Put(destination=destination, journal="7-a", start=start, end=start + 10, packed=pack([b"{}"]), count=1)
        store.put([put])
    yield store
    assert store.counts([destination])[destination].closes
    pool.close()
