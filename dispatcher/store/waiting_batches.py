"""Waiting batches: what waits for a destination, batch by batch; and how it gets to another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from typing import Any, Final, Literal

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store import script
from dispatcher.store.keys import BATCH, CLAIMED, COUNTS, PARKED, SINCE, prefix
from dispatcher.store.packing import pack, unpack
from dispatcher.store.script import ScriptCaller
from dispatcher.store.slots import slot_name, slots_in_use, split_name, split_slot, with_slot

# Batches read in one round trip.
_PAGE: Final = 200
# Keys that Redis goes through in one step of a scan: a millisecond or two, in which it serves nobody else.
_SCAN_KEYS: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingBatch:
    """One batch that is not settled. Times are in milliseconds since 1970.

    Args:
        id: Its name, as workers log it and Flower shows it, with ``@`` and its slot behind it where that is not 0.
        state: queued: for a worker to take. claimed: a worker has it. parked: to be tried again.
        count: How many events are left in it.
        example: The name of one of them; empty if the store does not say.
        attempts: How often it was tried.
        put_ms: When it was put.
        due_ms: When a parked batch is due, or when the lease of a claimed one ends; None for a queued one.
        error: Why it was parked last; empty if it never was.
    """

    id: str
    state: Literal["queued", "claimed", "parked"]
    count: int
    example: str
    attempts: int
    put_ms: int
    due_ms: int | None
    error: str


class WaitingBatches:
    """The batches that wait in one Redis. Safe in threads and after a fork.

    Each method blocks for a few round trips, and raises StoreUnavailableError where Redis does not answer.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._scripts = ScriptCaller(pool, clock)

    def select(self, destination: str) -> Iterator[WaitingBatch]:
        """All batches of a destination, the oldest first. One that is settled meanwhile is left out."""
        slots = slots_in_use(self._pool, destination)
        yield from merge(*(self._select(destination, slot) for slot in slots), key=lambda batch: batch.put_ms)

    def _select(self, destination: str, slot: int) -> Iterator[WaitingBatch]:
        start, place = 0, slot_name(destination, slot)
        while page := self._pool.execute("ZRANGE", SINCE.of(place), start, start + _PAGE - 1, "WITHSCORES"):
            ids = [name.decode() for name in page[::2]]
            commands: list[tuple[Any, ...]] = []
            for name in ids:
                commands.append(("HMGET", BATCH.of(place, name), "n", "example", "attempts", "error"))
                commands += [("ZSCORE", key.of(place), name) for key in (CLAIMED, PARKED)]
            answers = self._pool.execute_many(commands)
            for index, name in enumerate(ids):
                (count, example, attempts, error), claimed, parked = answers[3 * index : 3 * index + 3]
                if count is None:
                    continue
                score = parked if claimed is None else claimed
                yield WaitingBatch(
                    id=with_slot(name, slot),
                    state="claimed" if claimed is not None else "queued" if parked is None else "parked",
                    count=int(count),
                    example=(example or b"").decode("utf-8", "replace"),
                    attempts=int(attempts or 0),
                    put_ms=int(float(page[2 * index + 1])),
                    due_ms=None if score is None else int(float(score)),
                    error=(error or b"").decode("utf-8", "replace"),
                )
            start += len(ids)

    def events(self, destination: str, batch_id: str) -> tuple[bytes, ...] | None:
        """The encoded events of a batch, oldest first; None if it does not wait any more.

        Raises:
            BatchDamagedError: Its bytes cannot be read.
        """
        name, slot = split_slot(batch_id)
        packed, count = self._pool.execute("HMGET", BATCH.of(slot_name(destination, slot), name), "packed", "n")
        return None if count is None else unpack(packed, int(count))

    def replace_events(self, destination: str, batch_id: str, known: Sequence[bytes], events: Sequence[bytes]) -> bool:
        """Give a batch other events, in one step, if it still has those that are known.

        Args:
            destination: The one that the batch is for.
            batch_id: Its name.
            known: Its events as ``events`` has read them.
            events: As many, each in the place of another one, and together no larger.

        Returns:
            False where some of them are settled meanwhile, or the batch is gone: then nothing has changed.
        """
        name, slot = split_slot(batch_id)
        place = slot_name(destination, slot)
        packed, count = self._pool.execute("HMGET", BATCH.of(place, name), "packed", "n")
        if count is None or unpack(packed, int(count)) != tuple(known):
            return False
        return bool(self._scripts.call(script.REPLACE_EVENTS, place, {"id": name}, packed, pack(events)))

    def transfer(self, source: str, target: str, ids: Sequence[str]) -> tuple[int, int]:
        """Move batches to another destination, where they are queued. May be repeated without harm.

        Atomic for each slot of the source. All come into slot 0 of the target.

        The ledger counts their events as filtered at the one, ``transferred``, and as accepted at the other.

        Args:
            source: Where they wait.
            target: Where they are to go.
            ids: Which ones; those that a worker has, or that are settled, stay as they are.

        Returns:
            How many batches were moved, and how many events.
        """
        by_slot: dict[int, list[str]] = {}
        for name, slot in map(split_slot, ids):
            by_slot.setdefault(slot, []).append(name)
        batches = events = 0
        for slot, names in by_slot.items():
            arguments = {"ids": names, "to": prefix(target), "suffix": f"~{source}"}
            moved = self._scripts.call(script.TRANSFER, slot_name(source, slot), arguments)
            batches, events = batches + int(moved[0]), events + int(moved[1])
        return batches, events


def scan_destinations(pool: RedisPool) -> list[str]:
    """Every destination that has counters in Redis. Scans all keys: a million take about a second."""
    keys = pool.scan(COUNTS.of("*"), count=_SCAN_KEYS)
    return sorted({split_name(COUNTS.destination_of(key.decode("utf-8", "replace")))[0] for key in keys})
