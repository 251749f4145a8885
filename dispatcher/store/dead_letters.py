"""Dead letters: the events that gave up, with their reasons. Read them, have them delivered again, or drop them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from typing import Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store import script
from dispatcher.store.batches import BatchStore
from dispatcher.store.dead_letter import DeadLetter, DeadLetterFilter, place_of
from dispatcher.store.keys import DEAD
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.script import Script, ScriptCaller
from dispatcher.store.slots import slot_name, slots_in_use, split_slot, with_slot

# Dead letters read in one round trip, and where each may be large.
_PAGE: Final = 500
_SMALL_PAGE: Final = 50


class DeadLetters:
    """The dead letters of every destination in one Redis. Safe in threads and after a fork.

    Each method blocks up to the pool's timeout, for each page that it reads, and raises StoreUnavailableError where
    Redis does not answer.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._store = BatchStore(pool, clock=clock)
        self._scripts = ScriptCaller(pool, clock)

    def select(self, destination: str, wanted: DeadLetterFilter) -> Iterator[DeadLetter]:
        """The dead letters that are wanted, oldest first, read a page at a time.

        Those that come meanwhile are not among them: an event that is replayed and fails again must not come round.
        """
        slots = slots_in_use(self._pool, destination)
        yield from merge(*(self._select(destination, slot, wanted) for slot in slots), key=lambda one: one.place)

    def _select(self, destination: str, slot: int, wanted: DeadLetterFilter) -> Iterator[DeadLetter]:
        stream = DEAD.of(slot_name(destination, slot))
        newest = self._pool.execute("XREVRANGE", stream, "+", "-", "COUNT", 1)
        if not newest:
            return
        newest_id = newest[0][0].decode()
        first, last = wanted.bounds
        if place_of(newest_id) < place_of(last):
            last = newest_id
        while True:
            page = self._pool.execute("XRANGE", stream, first, last, "COUNT", _PAGE)
            for entry in page:
                dead_letter = DeadLetter.from_entry(destination, entry, slot=slot)
                if dead_letter in wanted:
                    yield dead_letter
            if len(page) < _PAGE:
                return
            first = f"({page[-1][0].decode()}"

    def read(self, destination: str, ids: Sequence[str]) -> Iterator[DeadLetter]:
        """Read some dead letters, a few at a time. Blocks for each trip to Redis.

        Args:
            destination: Whose they are.
            ids: Their ids; those of dead letters that are gone are left out.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        for at in range(0, len(ids), _SMALL_PAGE):
            places = [split_slot(letter_id) for letter_id in ids[at : at + _SMALL_PAGE]]
            commands = [("XRANGE", DEAD.of(slot_name(destination, slot)), entry, entry) for entry, slot in places]
            for entries, (_, slot) in zip(self._pool.execute_many(commands), places, strict=True):
                yield from (DeadLetter.from_entry(destination, entry, slot=slot) for entry in entries)

    def replay(self, dead_letters: Sequence[DeadLetter]) -> int:
        """Have dead letters of one destination delivered again, as one batch. Returns how many are on their way.

        The next bell of a worker rings for it. Where some are gone, as when somebody else replays them too, the others
        go as several batches. An event that fails again becomes a dead letter again.
        """
        if not dead_letters:
            return 0
        slots = {split_slot(dead_letter.id)[1] for dead_letter in dead_letters}
        if len(slots) > 1:
            return sum(self.replay([one for one in dead_letters if split_slot(one.id)[1] == slot]) for slot in slots)
        # Another name in each slot, since the id that a destination knows a batch by must not come twice.
        batch_id = f"replay-{dead_letters[0].id.replace('@', '.')}"
        payloads = [dead_letter.payload for dead_letter in dead_letters]
        if self.revive(
            dead_letters[0].destination, batch_id, payloads, [dead_letter.id for dead_letter in dead_letters]
        ):
            return len(payloads)
        if len(dead_letters) == 1:
            return 0
        half = len(dead_letters) // 2
        return self.replay(dead_letters[:half]) + self.replay(dead_letters[half:])

    def revive(self, destination: str, batch_id: str, payloads: Sequence[bytes], ids: Sequence[str]) -> bool:
        """Turn dead letters into a batch, in one atomic step.

        Args:
            destination: Whose they are.
            batch_id: The id of the new batch.
            payloads: Their events.
            ids: The dead letters, which go; all of one slot, in which the batch is then.

        Returns:
            False if one of them is gone: nothing has changed then.

        Raises:
            StoreUnavailableError: Redis does not answer; whether it was done is not known.
        """
        slot = split_slot(ids[0])[1]
        arguments = {"batch": batch_id, "ids": [split_slot(letter_id)[0] for letter_id in ids]}
        return bool(self._scripts.call(script.REVIVE, slot_name(destination, slot), arguments, pack(payloads)))

    def restore(self, dead_letters: Sequence[tuple[int, DeadLetter]], source: str) -> bool:
        """Have dead letters of a file delivered again, as one batch. False where somebody else does so right now.

        Args:
            dead_letters: Of one destination, each with its number in the file, in order.
            source: Names the file and the choice of its dead letters: what was restored under a name is not restored
                again under it.
        """
        chosen = [dead_letter for _, dead_letter in dead_letters]
        event = chosen[0].event
        # Where they count as dead: a file has those of one slot. Slot 0 has taken over what one that is forgotten had.
        destination, slot = chosen[0].destination, split_slot(chosen[0].id)[1]
        if slot and slot not in slots_in_use(self._pool, destination):
            slot = 0
        put = Put(
            destination=destination,
            journal=source,
            start=dead_letters[0][0],
            end=dead_letters[-1][0] + 1,
            packed=pack([dead_letter.payload for dead_letter in chosen]),
            count=len(chosen),
            example="" if event is None else event.name,
            slot=slot,
        )
        return self._store.restore(put) is None

    def restored_until(self, destination: str, source: str) -> int:
        """How far a file of dead letters was restored.

        Args:
            destination: Whose file it is.
            source: What the file is known by.

        Returns:
            The number of the last line that was restored; 0 if none was in the last week.
        """
        return max(0, self._store.progress([destination], source)[destination].put)

    def drop(self, destination: str, ids: Sequence[str]) -> int:
        """Delete dead letters for good. Their events count as filtered from then on.

        Args:
            destination: Whose they are.
            ids: Those to delete; ids of dead letters that are gone do no harm.

        Returns:
            How many events they were.
        """
        return self._take_out(script.DROP, destination, ids)

    def overdue(
        self,
        destination: str,
        *,
        max_bytes: int,
        max_age_seconds: float,
        every_seconds: float,
        going_on: bool = False,
        slot: int = 0,
    ) -> list[str]:
        """The oldest dead letters, which are to go to a file now; a few megabytes of them. Then call ``mark_filed``.

        Args:
            destination: Whose they are.
            max_bytes: What those of the slot may take up. The store itself keeps to it from now on.
            max_age_seconds: How old they may get; 0: as old as they like.
            every_seconds: It answers once in so many, whoever asks; all others get an empty list.
            going_on: Answer again, to the worker that has just filed some.
            slot: The destination's slot whose they are.

        Returns:
            Their ids.
        """
        arguments = {
            "max_bytes": max_bytes,
            "max_age_ms": int(max_age_seconds * 1000),
            "every_ms": max(1, int(every_seconds * 1000)),
            "going_on": going_on,
        }
        found = self._scripts.call(script.OVERDUE, slot_name(destination, slot), arguments)
        return [with_slot(letter_id.decode(), slot) for letter_id in found]

    def mark_filed(self, destination: str, ids: Sequence[str]) -> int:
        """Take dead letters out of Redis that are in a file now.

        Args:
            destination: Whose they are.
            ids: Those that the file has.

        Returns:
            How many events they were.
        """
        return self._take_out(script.FILED, destination, ids)

    def forget_filed(self, destination: str) -> int:
        """Have dead events count as filtered that went to a file or were only counted. Returns how many."""
        slots = slots_in_use(self._pool, destination)
        return sum(int(self._scripts.call(script.FORGET_FILED, slot_name(destination, slot), {})) for slot in slots)

    def _take_out(self, how: Script, destination: str, ids: Sequence[str]) -> int:
        by_slot: dict[int, list[str]] = {}
        for letter_id, slot in map(split_slot, ids):
            by_slot.setdefault(slot, []).append(letter_id)
        return sum(
            int(self._scripts.call(how, slot_name(destination, slot), {"ids": of_slot}))
            for slot, of_slot in by_slot.items()
        )
