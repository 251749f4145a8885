"""Snapshot: the ledger, what it leaves out, and how full outboxes and Redis are, all at one time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from dispatcher.config.watch import SettingsWatch
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.ledger import Ledger, served
from dispatcher.outbox.damage import damage
from dispatcher.outbox.stats import Surveyor
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN, Counts
from dispatcher.store.keys import STATES
from dispatcher.store.waiting_batches import scan_destinations

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

# Seconds between two scans of all keys for destinations that the settings do not name.
_SCAN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of the batch store's Redis.

    Args:
        used_bytes: What it uses.
        limit_bytes: Its maxmemory; None without one.
    """

    used_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What an operator watches, as it was at one time.

    Args:
        at: When it was taken, in seconds since 1970.
        ledger: Without destinations if Redis did not answer.
        outbox_limit_bytes: What the journals of this machine may take together.
        unserved: Destinations with events that wait or dead letters, which are disabled or not in the settings: nobody
            delivers these.
        batches: How many batches wait for each destination, by state.
        doorbells: The length of each destination's Celery queue; empty if the broker is another server.
        memory: None if Redis did not say.
        problem: Why Redis did not answer; empty if it did.
    """

    at: float
    ledger: Ledger
    outbox_limit_bytes: int
    unserved: Mapping[str, Counts] = field(default_factory=dict)
    batches: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    doorbells: Mapping[str, int] = field(default_factory=dict)
    memory: Memory | None = None
    problem: str = ""

    @property
    def destinations(self) -> dict[str, Counts]:
        """The counts of all destinations, served or not, and of emit."""
        return {**self.ledger.destinations, **self.unserved}

    @property
    def closes(self) -> bool:
        """Whether every destination's sum is right: accepted = delivered + waiting + dead + filtered."""
        return all(counts.closes for counts in self.destinations.values())

    @property
    def outbox_disk_bytes(self) -> int:
        """What the journals of this machine take."""
        return sum(outbox.disk_bytes for outbox in self.ledger.outboxes)

    @property
    def outbox_oldest_ms(self) -> int | None:
        """The timestamp of the oldest event in an outbox of this machine, in ms since 1970; None if all are empty."""
        return min(
            (outbox.oldest_ms for outbox in self.ledger.outboxes if outbox.oldest_ms is not None),
            default=None,
        )


class Observer:
    """Takes one snapshot after another, and notices changed settings. For one thread at a time.

    Args:
        settings: Read again when their files change.
        pool: Its timeout limits each of the three round trips of a snapshot.
        clock: Gives the time in seconds since 1970.
    """

    def __init__(self, settings: Settings, pool: RedisPool, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._watch = SettingsWatch(settings)
        self._pool = pool
        self._store = BatchStore(pool, clock=clock)
        self._clock = clock
        self._surveyor = Surveyor(settings.outbox_directory)
        self._in_redis: list[str] = []
        self._scanned_at: float | None = None

    def take_snapshot(self) -> Snapshot:
        """Take one now. Blocks for three timeouts of the pool at most.

        Without an answer from Redis, the snapshot has the outboxes and the ``problem``.
        """
        self._settings = settings = self._watch.changed() or self._settings
        # Outboxes first: an event that moves on in between is then counted twice rather than not at all.
        outboxes = tuple(self._surveyor.look())
        local = Ledger({}, outboxes, damage(settings.outbox_directory))
        limit = settings.outbox.max_bytes
        try:
            return self._add_redis(settings, local, limit)
        except StoreUnavailableError as error:
            return Snapshot(at=self._clock(), ledger=local, outbox_limit_bytes=limit, problem=str(error))

    def _add_redis(self, settings: Settings, ledger: Ledger, limit: int) -> Snapshot:
        names = served(settings)
        unserved = [name for name in self._names_in_redis() if name not in names]
        counts = self._store.counts([*names, *unserved])
        batches, doorbells = self._queues(settings, [*names, *unserved])
        return Snapshot(
            at=self._clock(),
            ledger=replace(ledger, destinations={name: counts[name] for name in names}),
            outbox_limit_bytes=limit,
            unserved={name: counts[name] for name in unserved if counts[name].waiting or counts[name].dead},
            batches=batches,
            doorbells=doorbells,
            memory=self._memory(),
        )

    def _names_in_redis(self) -> list[str]:
        """The destinations that Redis had counters of at the last scan."""
        now = time.monotonic()
        if self._scanned_at is None or now - self._scanned_at >= _SCAN_SECONDS:
            self._in_redis = scan_destinations(self._pool)
            self._scanned_at = now
        return self._in_redis

    def _queues(self, settings: Settings, names: Sequence[str]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
        # A queue bears the name of its destination, and is in this Redis only if that is the broker too.
        names = [name for name in names if name != NOT_TAKEN]
        queues = names if settings.broker == settings.store else ()
        cards = [("ZCARD", state.of(name)) for name in names for state in STATES]
        answers = iter(self._pool.execute_many([*cards, *(("LLEN", name) for name in queues)]))
        batches = {name: {state.name: int(next(answers)) for state in STATES} for name in names}
        return batches, {name: int(next(answers)) for name in queues}

    def _memory(self) -> Memory | None:
        with suppress(StoreUnavailableError):  # an ACL may forbid INFO
            answer = self._pool.execute("INFO", "memory")
            lines = dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
            return Memory(int(lines["used_memory"]), int(lines["maxmemory"]) or None)
        return None
