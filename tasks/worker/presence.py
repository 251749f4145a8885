"""Presence: a thread in every worker that says which destinations it serves, for `dispatcher status`."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store.workers import EVERY_SECONDS, ServingWorker, Workers
from dispatcher.version import __version__

if TYPE_CHECKING:
    from celery import Celery

    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds that Redis may take to answer.
_TIMEOUT_SECONDS: Final = 5.0


class Presence:
    """Announces one worker. Made when its settings are read.

    Args:
        app: Knows the queues that the worker serves, once it has started.
        settings: Those of the worker.
    """

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._app = app
        self._url = settings.store
        self._settings_ms = int(time.time() * 1000)
        self._stopped = threading.Event()

    def start(self, name: str) -> None:
        """Start announcing. Returns at once.

        Args:
            name: Celery's name for the worker.
        """
        worker = ServingWorker(name=name, pid=os.getpid(), version=__version__, settings_ms=self._settings_ms)
        threading.Thread(target=self._run, args=(worker,), name="dispatcher-presence", daemon=True).start()

    def stop(self) -> None:
        """Have it say that it leaves. Does not wait for that."""
        self._stopped.set()

    def _run(self, worker: ServingWorker) -> None:
        pool = RedisPool(self._url, timeout_seconds=_TIMEOUT_SECONDS)
        workers = Workers(pool)
        is_over = False
        while not is_over:
            is_over = self._stopped.is_set()
            try:
                workers.announce(list(self._app.amqp.queues.consume_from), worker, leaves=is_over)
            except StoreUnavailableError as error:
                logger.debug("this worker could not be announced: %s", error)
            except Exception:  # deliveries do not depend on it
                logger.exception("this worker could not be announced")
            self._stopped.wait(EVERY_SECONDS)
        pool.close()
