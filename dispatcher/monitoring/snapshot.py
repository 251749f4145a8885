"""Overview: all that an operator watches, at one moment. The ledger, what it leaves out, and how full things are."""

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
from dispatcher.store.batches import NOT_TAKEN, BatchStore, Counts, prefix

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

#: Where a batch that waits can be.
STATES: Final = ("queued", "claimed", "parked")
# Seconds between two walks over all keys for destinations that the settings do not name.
_WALK_SECONDS: Final = 60.0
# Keys that Redis looks at in one go: a millisecond or two, in which it answers nobody else.
_WALK_KEYS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Memory:
    """What Redis uses. ``limit_bytes`` is its maxmemory, None where it has none."""

    used_bytes: int
    limit_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One look.

    Args:
        at: When it was taken, in seconds since 1970.
        ledger: Without destinations where Redis did not answer.
        outbox_limit_bytes: What the journals of this machine may take together.
        unserved: Destinations that are disabled, or that the settings do not name, for which something is kept all
            the same. Nobody delivers it.
        batches: How many batches wait for each destination, by state.
        doorbells: The length of each destination's Celery queue; empty where the broker is another server.
        memory: None where Redis did not say.
        problem: Why there was no answer from Redis; empty when there was.
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
    def closes(self) -> bool:
        """Whether every destination's sum is right: accepted = delivered + waiting + dead + filtered."""
        return all(counts.closes for counts in (*self.ledger.destinations.values(), *self.unserved.values()))

    @property
    def outbox_disk_bytes(self) -> int:
        """What the journals of this machine take."""
        return sum(outbox.disk_bytes for outbox in self.ledger.outboxes)

    @property
    def outbox_oldest_ms(self) -> int | None:
        """The timestamp of the oldest event in an outbox of this machine."""
        return min((one.oldest_ms for one in self.ledger.outboxes if one.oldest_ms is not None), default=None)


class Observer:
    """Looks again and again; notices changed settings. For one thread at a time.

    Args:
        settings: Re-read from their files when these change.
        pool: Its timeout limits each of the three round trips of a look.
        clock: Gives the time in seconds since 1970.
    """

    def __init__(self, settings: Settings, pool: RedisPool, *, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._watch = SettingsWatch(settings)
        self._pool = pool
        self._store = BatchStore(pool, clock=clock)
        self._clock = clock
        self._surveyor = Surveyor(settings.outbox_directory)
        self._strangers: list[str] = []
        self._walked_at: float | None = None

    def look(self) -> Overview:
        """Look now. Where Redis does not answer, that is the ``problem``, and the outboxes are seen all the same."""
        self._settings = settings = self._watch.changed() or self._settings
        # Outboxes first: what moves on in between is then seen twice rather than not at all.
        outboxes = tuple(self._surveyor.look())
        local = Ledger({}, outboxes, damage(settings.outbox_directory))
        limit = settings.outbox.max_bytes
        try:
            return self._look(settings, local, limit)
        except StoreUnavailableError as error:
            return Overview(at=self._clock(), ledger=local, outbox_limit_bytes=limit, problem=str(error))

    def _look(self, settings: Settings, ledger: Ledger, limit: int) -> Overview:
        names = served(settings)
        unserved = [name for name in self._kept() if name not in names]
        counts = self._store.counts([*names, *unserved])
        batches, doorbells = self._queues(settings, [*names, *unserved])
        return Overview(
            at=self._clock(),
            ledger=replace(ledger, destinations={name: counts[name] for name in names}),
            outbox_limit_bytes=limit,
            unserved={name: counts[name] for name in unserved if counts[name].waiting or counts[name].dead},
            batches=batches,
            doorbells=doorbells,
            memory=self._memory(),
        )

    def _kept(self) -> list[str]:
        """The destinations that Redis has a ledger of, as of the last walk."""
        now = time.monotonic()
        if self._walked_at is None or now - self._walked_at >= _WALK_SECONDS:
            self._strangers = _destinations_in(self._pool)
            self._walked_at = now
        return self._strangers

    def _queues(self, settings: Settings, names: Sequence[str]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
        # A queue is named like its destination, and is in this Redis only where that is the broker too.
        names = [name for name in names if name != NOT_TAKEN]
        queues = names if settings.broker == settings.store else ()
        cards = [("ZCARD", prefix(name) + state) for name in names for state in STATES]
        answers = iter(self._pool.execute_many([*cards, *(("LLEN", name) for name in queues)]))
        batches = {name: {state: int(next(answers)) for state in STATES} for name in names}
        return batches, {name: int(next(answers)) for name in queues}

    def _memory(self) -> Memory | None:
        with suppress(StoreUnavailableError):  # an ACL may forbid to ask
            answer = self._pool.execute("INFO", "memory")
            lines = dict(line.split(":", 1) for line in answer.decode().splitlines() if ":" in line)
            return Memory(int(lines["used_memory"]), int(lines["maxmemory"]) or None)
        return None


def _destinations_in(pool: RedisPool) -> list[str]:
    """Every destination that a Redis has counters of. Walks over all keys: a million take about a second."""
    start, end = prefix("\0").split("\0")
    found: set[str] = set()
    cursor: bytes | int = 0
    while True:
        cursor, keys = pool.execute("SCAN", cursor, "MATCH", f"{start}*{end}counts", "COUNT", _WALK_KEYS)
        found.update(key.decode("utf-8", "replace").removeprefix(start).removesuffix(f"{end}counts") for key in keys)
        if int(cursor) == 0:
            return sorted(found)
