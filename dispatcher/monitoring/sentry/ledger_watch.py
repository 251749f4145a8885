"""Ledger watch: a thread in every worker, one of which reports what the ledger says has gone wrong since the last look.

It asks the store and not the deliveries: that costs a delivery nothing, counts the whole fleet as one, and sees what
emit buried and what a worker did in the moment before it died.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.sentry.report import Report, send, word
from dispatcher.store.batches import FILED, NOT_TAKEN, BatchStore, Counts, prefix

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds that one look may take.
_TIMEOUT_SECONDS: Final = 5.0
# Of the interval, so that a look comes too early by no more than a thread is late: else every second one would be lost.
_TURN: Final = 0.9
_BREAKER: Final = "breaker"
_DEAD: Final = "dead:"


class LedgerWatch:
    """Looks every ``sentry.interval_seconds``. Any number of them may run; what one has reported, the others know.

    Beside the store's own keys of a destination it keeps, in Redis, ``reported`` (hash: dead:<reason> -> how many were
    reported, breaker -> the cause that was) and ``reporter`` (whose turn it was, with expiry).
    """

    def __init__(self, settings: Settings) -> None:
        self._names = [*settings.served_destinations, NOT_TAKEN]
        self._every = settings.sentry.interval_seconds
        self._pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
        self._store = BatchStore(self._pool)
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start looking. Returns at once."""
        threading.Thread(target=self._run, name="dispatcher-reports", daemon=True).start()

    def stop(self) -> None:
        """Stop looking. Does not wait for a look under way."""
        self._stopped.set()

    def look(self) -> None:
        """Report what is new at each destination whose turn nobody else has taken. Raises StoreUnavailableError."""
        for name in self._names:
            if self._pool.execute("SET", f"{prefix(name)}reporter", 1, "NX", "PX", int(self._every * _TURN * 1000)):
                self._report(name)

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self.look()
            except StoreUnavailableError as error:
                logger.debug("the ledger could not be looked at: %s", error)
            except Exception:  # one odd answer must not end all reports to come
                logger.exception("the ledger watch failed and will try again")
        self._pool.close()

    def _report(self, name: str) -> None:
        key = f"{prefix(name)}reported"
        counts = self._store.counts([name])[name]
        before = _texts(self._pool.execute("HGETALL", key))
        for report in news(name, counts, before, interval_seconds=self._every):
            send(report)
        after = reported(counts)
        gone = [field for field in before if field not in after]
        commands = [("HSET", key, *(part for pair in after.items() for part in pair))]
        # Behind the reports: a process that dies in between has said something twice rather than not at all.
        self._pool.execute_many([*commands, ("HDEL", key, *gone)] if gone else commands)


def news(name: str, counts: Counts, before: Mapping[str, str], *, interval_seconds: float) -> Iterator[Report]:
    """What is to be said of a destination that was not when ``before`` was kept. Pure.

    Letters that were replayed or dropped since are taken off, so that what died again since then may be said later.
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


def reported(counts: Counts) -> dict[str, str]:
    """What to keep of a look, for the next one's ``before``. Pure."""
    return {_BREAKER: _cause(counts), **{f"{_DEAD}{reason}": str(dead) for reason, dead in _by_word(counts).items()}}


def _by_word(counts: Counts) -> dict[str, int]:
    found: dict[str, int] = {}
    for reason, dead in counts.dead_by_reason.items():
        if reason == FILED:
            continue  # they were said when they died
        found[word(reason)] = found.get(word(reason), 0) + dead
    return found


def _cause(counts: Counts) -> str:
    """Why the breaker is not closed; empty where it is."""
    return "" if counts.breaker.state == "closed" else word(counts.breaker.cause)


def _texts(answer: list[bytes]) -> dict[str, str]:
    return {answer[at].decode(): answer[at + 1].decode() for at in range(0, len(answer), 2)}
