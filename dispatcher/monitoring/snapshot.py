"""Snapshot: the ledger, what it leaves out, and how full outboxes and Redis are, all at one time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

from dispatcher.config.watch import SettingsWatch
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.intake import Intake, intake_directory, read_intake
from dispatcher.monitoring.ledger import Ledger, served, take_local_ledger
from dispatcher.monitoring.source_summary import SourceSummary, summarize
from dispatcher.outbox.stats import Surveyor
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN, Counts
from dispatcher.store.event_ids import IdMemory
from dispatcher.store.keys import STATES
from dispatcher.store.slots import slot_name
from dispatcher.store.waiting_batches import scan_destinations

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

# Seconds between two scans of all keys for destinations that the settings do not name.
_SCAN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of the batch store's Redis; of all primaries of a cluster together.

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
        ids: Which ids of clients are remembered; None where no source is in the settings, or Redis did not say.
        intake: What the collectors of this machine counted; None where that cannot be read.
        intake_problem: Why it cannot be read; empty if it can.
        sources: The names of the sources in the settings.
        duplicates: Events that came before, by source, of the whole site; None if Redis did not say.
        problem: Why Redis did not answer; empty if it did.
        forbidden: What Redis does not let its user see, so that it is missing here; empty if nothing is.
        settings_changed_ms: When a settings file of this machine last changed; None if they cannot be read.
        settings_problems: Why the settings cannot be used. The destinations are then those that Redis knows.
    """

    at: float
    ledger: Ledger
    outbox_limit_bytes: int
    unserved: Mapping[str, Counts] = field(default_factory=dict)
    batches: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    doorbells: Mapping[str, int] = field(default_factory=dict)
    memory: Memory | None = None
    ids: IdMemory | None = None
    intake: Intake | None = None
    intake_problem: str = ""
    sources: tuple[str, ...] = ()
    duplicates: Mapping[str, int] | None = None
    problem: str = ""
    forbidden: str = ""
    settings_changed_ms: int | None = None
    settings_problems: tuple[str, ...] = ()

    @property
    def destinations(self) -> dict[str, Counts]:
        """The counts of all destinations, served or not, and of emit."""
        return {**self.ledger.destinations, **self.unserved}

    @property
    def closes(self) -> bool:
        """Whether every destination's sum is right: accepted = delivered + waiting + dead + filtered."""
        return all(counts.closes for counts in self.destinations.values())

    def source_summaries(self) -> list[SourceSummary]:
        """What came over HTTP, by source; empty where that cannot be read, and on a machine without sources."""
        return [] if self.intake is None else summarize(self.intake, self.sources, self.duplicates)

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
        pool: Its timeout limits each of the seven round trips of a snapshot.
        clock: Gives the time in seconds since 1970.
        problems: Why the settings cannot be used and were rescued. Every destination that Redis knows is shown then, as
            if it were served.
        whole_seconds: For who takes several snapshots a second: in so many seconds only one looks at everything, and
            those behind it count destinations alone, for a third of the CPU. 0: each looks at everything.
    """

    def __init__(
        self,
        settings: Settings,
        pool: RedisPool,
        *,
        clock: Callable[[], float] = time.time,
        problems: Sequence[str] = (),
        whole_seconds: float = 0.0,
    ) -> None:
        self._settings = settings
        self._problems = tuple(problems)
        self._watch = SettingsWatch(settings)
        self._pool = pool
        self._store = BatchStore(pool, clock=clock)
        self._clock = clock
        self._surveyor = Surveyor(settings.outbox_directory)
        self._in_redis: list[str] = []
        self._scanned_at: float | None = None
        self._whole_seconds = whole_seconds
        self._whole: Snapshot | None = None
        self._whole_at = 0.0

    @property
    def settings(self) -> Settings:
        """Those with which the last snapshot was taken."""
        return self._settings

    def take_snapshot(self) -> Snapshot:
        """Take one now. Blocks for seven timeouts of the pool at most.

        Without an answer from Redis, the snapshot has the outboxes and the ``problem``.
        """
        changed = self._watch.changed()
        self._settings = settings = changed or self._settings
        whole, now = self._whole, time.monotonic()
        if whole is not None and changed is None and now - self._whole_at < self._whole_seconds:
            with suppress(StoreUnavailableError):
                return self._count_again(whole)
        # Outboxes first: an event that moves on in between is then counted twice rather than not at all.
        local = take_local_ledger(self._surveyor, settings.outbox_directory)
        limit = settings.outbox.max_bytes
        intake, intake_problem = None, ""
        try:
            intake = read_intake(intake_directory(settings.outbox_directory))
        except OSError as error:
            if not local.problem:  # which says the same
                why = error.strerror or type(error).__name__
                intake_problem = f"what the collectors counted cannot be read: {why}; {error.filename}"
        try:
            snapshot = self._add_redis(settings, local, limit)
        except StoreUnavailableError as error:
            snapshot = Snapshot(
                at=self._clock(),
                ledger=local,
                outbox_limit_bytes=limit,
                problem=str(error),
                settings_problems=self._problems,
            )
        snapshot = replace(snapshot, intake=intake, intake_problem=intake_problem, sources=tuple(settings.sources))
        self._whole, self._whole_at = None if snapshot.problem else snapshot, now
        return snapshot

    def _count_again(self, whole: Snapshot) -> Snapshot:
        """A snapshot with what its destinations have now, and all else as it was. Raises StoreUnavailableError."""
        names = list(whole.ledger.destinations)
        unserved = [name for name in self._in_redis if name not in names]
        counts = self._store.counts([*names, *unserved])
        return replace(
            whole,
            at=self._clock(),
            ledger=replace(whole.ledger, destinations={name: counts[name] for name in names}),
            unserved={name: counts[name] for name in unserved if counts[name].waiting or counts[name].dead},
        )

    def _add_redis(self, settings: Settings, ledger: Ledger, limit: int) -> Snapshot:
        names, forbidden = served(settings), ""
        try:
            others = [name for name in self._names_in_redis() if name not in names]
        except StoreUnavailableError as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            # It answers, but its user may not scan: the destinations of the settings can be shown all the same.
            others, forbidden = [], f"destinations that the settings do not name are not looked for: {error}"
        names, unserved = ([*others, *names], []) if self._problems else (names, others)
        counts = self._store.counts([*names, *unserved])
        batches, doorbells = self._queues(settings, counts)
        return Snapshot(
            at=self._clock(),
            ledger=replace(ledger, destinations={name: counts[name] for name in names}),
            outbox_limit_bytes=limit,
            unserved={name: counts[name] for name in unserved if counts[name].waiting or counts[name].dead},
            batches=batches,
            doorbells=doorbells,
            memory=self._memory(),
            ids=self._ids(settings),
            duplicates=self._duplicates(settings),
            forbidden=forbidden,
            settings_changed_ms=self._watch.changed_ms,
            settings_problems=self._problems,
        )

    def _names_in_redis(self) -> list[str]:
        """The destinations that Redis had counters of at the last scan."""
        now = time.monotonic()
        if self._scanned_at is None or now - self._scanned_at >= _SCAN_SECONDS:
            self._in_redis = scan_destinations(self._pool)
            self._scanned_at = now
        return self._in_redis

    def _queues(
        self, settings: Settings, counts: Mapping[str, Counts]
    ) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
        # A queue bears the name of its destination, and is in this Redis only if that is the broker too.
        names = [name for name in counts if name != NOT_TAKEN]
        queues = names if settings.broker == settings.store else ()
        places = [
            (name, state, slot_name(name, slot)) for name in names for slot in counts[name].slots for state in STATES
        ]
        lengths = self._pool.execute_many([("ZCARD", state.of(place)) for _, state, place in places])
        batches = {name: {state.name: 0 for state in STATES} for name in names}
        for (name, state, _), length in zip(places, lengths, strict=True):
            batches[name][state.name] += int(length)
        try:
            lengths = self._pool.execute_many([("LLEN", name) for name in queues]) if queues else []
        except StoreUnavailableError as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            return batches, {}  # a user of Redis who may only see the batch store, or a queue that is something else
        return batches, {name: int(length) for name, length in zip(queues, lengths, strict=True)}

    def _ids(self, settings: Settings) -> IdMemory | None:
        if settings.sources:
            with suppress(StoreUnavailableError):  # an ACL may forbid it
                return self._store.ids.memory()
        return None

    def _duplicates(self, settings: Settings) -> dict[str, int] | None:
        if settings.sources:
            with suppress(StoreUnavailableError):  # an ACL may forbid it
                return self._store.duplicates.read()
        return None

    def _memory(self) -> Memory | None:
        with suppress(StoreUnavailableError):  # an ACL may forbid INFO
            used, limit = 0, 0
            # Of a cluster, all servers together.
            for server in self._pool.servers():
                answer = server.execute("INFO", "memory")
                lines = dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
                used, limit = used + int(lines["used_memory"]), limit + int(lines["maxmemory"])
            return Memory(used, limit or None)
        return None
