"""The bell: a thread in every worker that rings for batches which are due, or whose first ring came to nothing."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store import doorbell
from dispatcher.store.batches import BatchStore
from dispatcher.store.keys import NONE

if TYPE_CHECKING:
    from celery import Celery

    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds that one look may take.
_TIMEOUT_SECONDS = 5.0

# At maxmemory Redis refuses to push, unless it is in a script that has deleted something: what is parked has to come
# out, or nothing would ever free memory.
_PUSH = "redis.call('DEL', KEYS[2]) return redis.call('LPUSH', KEYS[1], unpack(ARGV))"


class Bell:
    """Rings for every destination, not only for those that this worker serves. Any number of bells may run."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._every = settings.worker.bell_seconds
        self._destinations = list(settings.served_destinations)
        self._on_redis = settings.broker == settings.store
        self._url = settings.store
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start ringing. Returns at once."""
        self._thread = threading.Thread(target=self._run, name="dispatcher-bell", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop ringing. Does not wait for a ring under way."""
        self._stopped.set()

    def _run(self) -> None:
        pool = RedisPool(self._url, timeout_seconds=_TIMEOUT_SECONDS)
        store = BatchStore(pool)
        with self._app.connection_for_write() as connection:  # it connects to nothing, but knows the broker's errors
            away = (StoreUnavailableError, OperationalError, *connection.connection_errors)
        failing = False
        while not self._stopped.wait(self._every):
            try:
                self._ring_all(pool, store)
                failing = False
            except away as error:
                if not failing:
                    logger.warning("the bell rests until this is mended: %s", error)
                failing = True
            except Exception:  # a bell that dies would leave retries waiting for good
                logger.exception("the bell failed and will try again")
        pool.close()

    def _ring_all(self, pool: RedisPool, store: BatchStore) -> None:
        wrong: StoreUnavailableError | None = None
        for name in self._destinations:
            try:
                self._ring(pool, store, name)
            except StoreUnavailableError as error:
                # Where somebody else has put something in one queue's place, the others are rung for all the same.
                if "WRONGTYPE" not in str(error):
                    raise
                wrong = error
        if wrong is not None:
            raise wrong

    def _ring(self, pool: RedisPool, store: BatchStore, destination: str) -> None:
        idle = (pool.execute("LLEN", destination) if self._on_redis else doorbell.waiting(self._app, destination)) == 0
        due = store.due(destination, idle=idle, every_seconds=self._every * 0.9)
        rings = [
            doorbell.Ring(
                destination=destination,
                batch_id=batch.batch_id,
                count=batch.count,
                attempts=batch.attempts,
                example=batch.example,
            )
            for batch in due
        ]
        if not rings:
            return
        if self._on_redis:
            pushes = doorbell.commands(rings)
            pool.execute_many(
                [("EVAL", _PUSH, 2, queue, NONE.of(destination), *messages) for _, queue, *messages in pushes]
            )
        else:
            doorbell.send(self._app, rings)
