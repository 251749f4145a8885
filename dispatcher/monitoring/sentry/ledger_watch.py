"""Ledger watch: a thread in every worker; one of them reports what has gone wrong since the last check.

It reads the ledger in the store rather than following deliveries: that costs a delivery nothing, counts the whole fleet
as one, and includes emit's dead letters and what a worker did just before it died.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.ledger import served
from dispatcher.monitoring.sentry.report import Report, send, word
from dispatcher.outcomes import FILED
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import Counts
from dispatcher.store.keys import REPORTED, REPORTER

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds for one answer of Redis.
_TIMEOUT_SECONDS: Final = 5.0
# The fraction of the interval for which a check keeps workers from the next one. With all of it, a thread that wakes a
# little early would be kept from it by its own last check.
_QUIET_FRACTION: Final = 0.9
_BREAKER: Final = "breaker"
_DEAD: Final = "dead:"


class LedgerWatch:
    """Checks the ledger every ``sentry.interval_seconds``, in a thread. Any number of workers may have one.

    What one has reported, the others know from Redis, where two keys for each destination (``store/keys.py``) hold what
    was reported, and expire when it is time for the next check.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = served(settings)
        self._every = settings.sentry.interval_seconds
        self._quiet_ms = int(self._every * _QUIET_FRACTION * 1000)
        self._pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
        self._store = BatchStore(self._pool)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start to check. Returns at once."""
        threading.Thread(target=self._run, name="dispatcher-reports", daemon=True).start()

    def stop(self) -> None:
        """Check no more. Does not wait for a check under way. May be called twice."""
        self._stopped.set()

    def check(self) -> None:
        """Report what is new at each destination that no other worker has checked in this interval.

        Blocks for some round trips for each destination. Raises StoreUnavailableError.
        """
        for name in self._names:
            if self._pool.execute("SET", REPORTER.of(name), 1, "NX", "PX", self._quiet_ms):
                self._report(name)

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self.check()
            except StoreUnavailableError as error:
                logger.debug("the ledger could not be read: %s", error)
            except Exception:  # one odd answer must not end all further reports
                logger.exception("the ledger watch failed and will try again")
        self._pool.close()

    def _report(self, name: str) -> None:
        key = REPORTED.of(name)
        counts = self._store.counts([name])[name]
        fields = [part.decode() for part in self._pool.execute("HGETALL", key)]
        before = dict(zip(fields[::2], fields[1::2], strict=True))
        for report in find_news(name, counts, before, interval_seconds=self._every):
            send(report)
        after = remember(counts)
        gone = [field for field in before if field not in after]
        commands = [("HSET", key, *(part for pair in after.items() for part in pair))]
        # After the reports: a process that dies in between has reported something twice rather than not at all.
        self._pool.execute_many([*commands, ("HDEL", key, *gone)] if gone else commands)


def find_news(name: str, counts: Counts, before: Mapping[str, str], *, interval_seconds: float) -> Iterator[Report]:
    """What to report of a destination that was not so at the last check. Pure.

    Dead letters that were replayed or dropped since then are subtracted first: events that die again within the same
    interval are not counted as new.

    Args:
        name: The destination.
        counts: Those of now.
        before: What ``remember`` returned at the last check.
        interval_seconds: The time between two checks, for the reports.
    """
    for reason, dead in _by_word(counts).items():
        more = dead - int(before.get(f"{_DEAD}{reason}", 0))
        if more > 0:
            yield Report(
                kind="dead-letters",
                title=f"Dead letters: {name}, {reason}. See `dispatcher dead list`",
                about={"destination": name, "reason": reason},
                facts={"events": more, "dead_letters": dead, "interval_seconds": interval_seconds},
            )
    cause = _cause(counts)
    if cause and cause != before.get(_BREAKER, ""):
        yield Report(
            kind="breaker-opened",
            title=f"The breaker of {name} opened: {cause}. See `dispatcher status`",
            level="error" if cause == "setup" else "warning",
            about={"destination": name, "cause": cause},
            facts={"failures": counts.breaker.failures, "opened": counts.breaker.opened, "waiting": counts.waiting},
        )


def remember(counts: Counts) -> dict[str, str]:
    """What to keep of these counts for ``find_news`` at the next check. Pure."""
    return {_BREAKER: _cause(counts), **{f"{_DEAD}{reason}": str(dead) for reason, dead in _by_word(counts).items()}}


def _by_word(counts: Counts) -> dict[str, int]:
    by_word: dict[str, int] = {}
    for reason, dead in counts.dead_by_reason.items():
        if reason == FILED:
            continue  # they were reported when they died
        by_word[word(reason)] = by_word.get(word(reason), 0) + dead
    return by_word


def _cause(counts: Counts) -> str:
    """What opened the breaker; empty while it is closed."""
    return "" if counts.breaker.state == "closed" else word(counts.breaker.cause)
