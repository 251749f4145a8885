"""The watchdog: a thread that ends a worker which takes nothing although Redis answers, so that it is restarted.

It looks from inside, where it is known what the consumer does. That the process runs at all is seen from outside
(dispatcher/process/heartbeat.py).
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

from dispatcher.connections.redis_pool import RedisPool, kombu_url
from dispatcher.errors import StoreUnavailableError
from dispatcher.store.keys import PROBE
from dispatcher.tasks.transport import PULSE, serves

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

#: What a worker's process ends with that hung: sysexits' EX_SOFTWARE.
EXIT_CODE: Final = 70

# Seconds between two looks.
_EVERY_SECONDS: Final = 1.0
# Seconds that one question to Redis may take.
_TIMEOUT_SECONDS: Final = 2.0
# Seconds without a pulse that may well pass by themselves, so that Redis is not asked. It answers every second.
_CALM_SECONDS: Final = 5.0
# Seconds in which Celery reconnects, whatever has happened, once Redis answers again.
_HUNG_SECONDS: Final = 30.0


class Watchdog:
    """Looks at the consumer's pulse once a second.

    Args:
        hung_seconds: How long Redis has to have answered, and the consumer not to have taken or asked for anything,
            for it to be hung. Where deliveries are under way, which may take all threads, twice the longest lease is
            added: a delivery that took so long has been taken over by another worker.
    """

    def __init__(self, settings: Settings, *, hung_seconds: float = _HUNG_SECONDS) -> None:
        self._watches = serves(kombu_url(settings.broker))
        self._url = settings.broker
        self._hung_seconds = hung_seconds
        leases = [table.lease_seconds for table in settings.served_destinations.values()]
        self._delivery_seconds = 2 * max(leases, default=0.0)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start watching; with a broker that is no Redis, nothing is watched. Returns at once."""
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
            if now - PULSE.at < min(_CALM_SECONDS, self._hung_seconds / 2) or not _takes_writes(pool):
                calm_at = time.monotonic()
                continue
            allowed = self._hung_seconds + (self._delivery_seconds if state.active_requests else 0.0)
            if now - max(calm_at, PULSE.at) >= allowed:
                self._end(now - PULSE.at)
        pool.close()

    def _end(self, seconds: float) -> None:
        logger.critical(
            "this worker has taken nothing for %.0f s although Redis answers, so it ends with code %d, to be started "
            "again; what it had claimed comes again when its lease has run out. Where its threads hang:",
            seconds,
            EXIT_CODE,
        )
        faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
        # Nothing less: what hangs may be the very thread that would end it in order.
        os._exit(EXIT_CODE)


def _takes_writes(pool: RedisPool) -> bool:
    # A deletion is what a Redis takes that is out of memory, and one refuses that is a replica or cannot write to its
    # disk, with which no consumer gets anywhere, however often it is restarted.
    try:
        pool.execute("DEL", PROBE)
    except StoreUnavailableError:
        return False
    return True
