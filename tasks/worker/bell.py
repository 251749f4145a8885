"""Bell: a thread in every worker that rings for batches which are due, or whose first ring was lost."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError
from redis.exceptions import ResponseError

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store import doorbell
from dispatcher.store.batches import BatchStore
from dispatcher.store.bell_turn import BellTurn
from dispatcher.store.slots import split_name

if TYPE_CHECKING:
    from celery import Celery

    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds that Redis may take to answer.
_TIMEOUT_SECONDS = 5.0


class Bell:
    """Rings for every destination, not only for those that this worker serves.

    Any number of bells may run: one of them looks, and another takes over within a few rounds once that has ended.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._every = settings.worker.bell_seconds
        self._slots = {name: table.slots for name, table in settings.served_destinations.items()}
        self._on_redis = settings.broker == settings.store
        self._url = settings.store
        self._stopped = threading.Event()
        self._unreachable: tuple[type[Exception], ...] = (StoreUnavailableError,)
        # Destinations for which the last ring failed.
        self._failing: set[str] = set()

    def start(self) -> None:
        """Start ringing. Returns at once."""
        threading.Thread(target=self._run, name="dispatcher-bell", daemon=True).start()

    def stop(self) -> None:
        """Stop ringing. Does not wait for the current ring."""
        self._stopped.set()

    def _run(self) -> None:
        pool = RedisPool(self._url, timeout_seconds=_TIMEOUT_SECONDS)
        store = BatchStore(pool)
        with self._app.connection_for_write() as connection:  # it connects to nothing, but knows the broker's errors
            self._unreachable = (StoreUnavailableError, OperationalError, *connection.connection_errors)
        turn = BellTurn(pool, self._slots, every_seconds=self._every)
        resting, pause = False, self._every
        while not self._stopped.wait(pause):
            pause = self._every
            try:
                if turn.take():
                    self._ring_all(store, turn.find_slots())
                else:
                    pause = turn.others_seconds
                resting = False
            except self._unreachable as error:
                turn.give_up()
                if not isinstance(error, StoreUnavailableError):
                    pause = turn.others_seconds  # only this worker's way to the broker may be broken
                if not resting:
                    logger.warning("the bell rests until this is mended: %s", error)
                resting = True
        pool.close()

    def _ring_all(self, store: BatchStore, names: list[str]) -> None:
        """Ring for each of the slots. If Redis or the broker is away, raises that at once."""
        for name in names:
            try:
                self._ring(store, *split_name(name))
                self._failing.discard(name)
            except Exception as error:  # a bell that ends would leave retries waiting for good
                if isinstance(error, self._unreachable) and not isinstance(error.__cause__, ResponseError):
                    raise
                # Something is wrong with what this destination has in Redis. The others are rung for all the same.
                if name not in self._failing:
                    logger.warning(
                        "the bell cannot ring for %s until this is mended: %s",
                        name,
                        error,
                        exc_info=None if isinstance(error, StoreUnavailableError) else error,
                    )
                self._failing.add(name)

    def _ring(self, store: BatchStore, destination: str, slot: int) -> None:
        # Where the broker is the store's Redis, its script looks into the queue and rings, even at maxmemory.
        idle = None if self._on_redis else doorbell.waiting(self._app, destination) == 0
        ring = store.due(destination, idle=idle, every_seconds=self._every * 0.9, slot=slot)
        if ring is not None:
            doorbell.send(self._app, [ring])
