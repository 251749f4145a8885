"""Watchdog: a thread that ends a worker which takes nothing although Redis answers, so that it is restarted.

It watches from inside the process, where it can see what the consumer does. Whether the process runs at all is watched
from outside (dispatcher/process/heartbeat.py).
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from celery.worker import state

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.urls import kombu_url
from dispatcher.errors import StoreUnavailableError
from dispatcher.store.keys import PROBE
from dispatcher.tasks.transport import LIVENESS, serves

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

#: The exit code of a worker that hung: EX_SOFTWARE of sysexits.h.
EXIT_CODE: Final = 70

# Seconds between two checks.
_EVERY_SECONDS: Final = 1.0
# Seconds that Redis has to answer.
_TIMEOUT_SECONDS: Final = 2.0
# Seconds without a sign of the consumer after which Redis is asked. In order, Redis answers the consumer every second.
_CALM_SECONDS: Final = 5.0
# Seconds in which Celery reconnects, whatever has happened, once Redis answers again.
_HUNG_SECONDS: Final = 30.0


class Watchdog:
    """Checks the consumer's liveness once a second.

    Args:
        settings: Those of the worker.
        hung_seconds: The consumer hangs when it has neither taken nor asked for anything for so long, while Redis
            answered. During deliveries, which may occupy all threads, twice the longest lease is added: after that a
            delivery has been taken over by another worker.
    """

    def __init__(self, settings: Settings, *, hung_seconds: float = _HUNG_SECONDS) -> None:
        self._watches = serves(kombu_url(settings.broker))
        self._url = settings.broker
        self._hung_seconds = hung_seconds
        leases = [table.lease_seconds for table in settings.served_destinations.values()]
        self._delivery_seconds = 2 * max(leases, default=0.0)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start watching. Returns at once. With a broker other than Redis, nothing is watched."""
        if self._watches:
            threading.Thread(target=self._run, name="dispatcher-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching. Returns at once."""
        self._stopped.set()

    def _run(self) -> None:
        pool = RedisPool(self._url, timeout_seconds=_TIMEOUT_SECONDS)
        calm_at = time.monotonic()
        while not self._stopped.wait(_EVERY_SECONDS):
            now = time.monotonic()
            if now - LIVENESS.seen_at < min(_CALM_SECONDS, self._hung_seconds / 2) or not _takes_writes(pool):
                calm_at = time.monotonic()
                continue
            allowed = self._hung_seconds + (self._delivery_seconds if state.active_requests else 0.0)
            if now - max(calm_at, LIVENESS.seen_at) >= allowed:
                self._end(now - LIVENESS.seen_at)
        pool.close()

    def _end(self, seconds: float) -> None:
        logger.critical(
            "this worker has taken nothing for %.0f s although Redis answers, so it ends with code %d, to be started "
            "again; what it had claimed comes again when its lease has run out. Where its threads hang:",
            seconds,
            EXIT_CODE,
        )
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        # At once: what hangs may be the very thread that would end the process in order.
        os._exit(EXIT_CODE)


def _takes_writes(pool: RedisPool) -> bool:
    # A Redis at maxmemory takes a deletion. A replica refuses one, and so does a Redis that cannot write to its disk:
    # with those, a consumer gets nowhere however often it is restarted.
    try:
        pool.execute("DEL", PROBE)
    except StoreUnavailableError:
        return False
    return True
