"""JournalProgress: how far the store has come with one journal, and what it has lost since. Pure.

A Redis may come back without its last second, or empty. The progress then says from which position to put the journal
again, and into which batches to split it. A range without an entry in the put log counts as lost.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

from dispatcher.relay.put_log import PutRange
from dispatcher.store.put import Progress, Put

# Ranges remembered, some hundred bytes each: an hour of light traffic. What is older is split by the limits of now.
_MAX_RANGES: Final = 20_000

_start: Final = attrgetter("start")
_end: Final = attrgetter("end")


class JournalProgress:
    """One journal's progress. For the one thread of its relay.

    Args:
        entries: What the put log holds of the journal, ordered by start.
        position: Up to where the journal was put, as its outbox says.
        settled: Up to where all of that was known to be settled.
    """

    def __init__(self, entries: Sequence[PutRange] = (), *, position: int, settled: int) -> None:
        self._from = settled
        #: Up to where everything is settled, by destination.
        self.settled: dict[str, int] = {}
        #: Up to where the store has the journal, by destination, as far as this relay knows.
        self.put: dict[str, int] = {}
        #: The slot of each destination in which the store has the journal, or is to have it.
        self.slots: dict[str, int] = {}
        # The recorded ranges that are not settled, ordered by start; no two overlap.
        self._ranges: list[PutRange] = []
        # Up to where something was put without an entry: every destination has to have everything before it.
        self._unrecorded = settled
        for entry in entries:
            self._recall(entry, position)
        if self._recorded_end() < position:
            self._unrecorded = position
        # Up to where the store had something and has lost it, by destination: it may have been delivered already.
        self._lost_until: dict[str, int] = {}
        #: From where on the store has lost what it had; None where it lost nothing, or that is being put again.
        self.lost_from: int | None = None
        #: Whether the store has ever lost anything of the journal.
        self.has_lost = False

    def _recall(self, entry: PutRange, position: int) -> None:
        if entry.end <= self._from:
            return
        if self._recorded_end() < entry.start <= position:
            self._unrecorded = entry.start
        self._remember(entry)
        self.slots |= entry.slots
        for name, batches in entry.batches.items():
            for start, end in batches:
                if start < self._from < end:
                    # What is settled everywhere never reaches into an open batch: so this one is settled.
                    self.settled[name] = end
        # A range behind the position was recorded, but its relay did not live to say whether it was put.
        if entry.end <= position:
            for name, batches in entry.batches.items():
                self.put[name] = max(batches[-1][1], self.put.get(name, -1))

    def _recorded_end(self) -> int:
        return max(self._from, self._ranges[-1].end) if self._ranges else self._from

    def _remember(self, new: PutRange) -> bool:
        """Insert a range in its place. False where it overlaps another one."""
        at = bisect_left(self._ranges, new.start, key=_start)
        if at > 0 and self._ranges[at - 1].end > new.start:
            return False
        if at < len(self._ranges) and self._ranges[at].start < new.end:
            return False
        self._ranges.insert(at, new)
        if len(self._ranges) > _MAX_RANGES:
            del self._ranges[: _MAX_RANGES // 10]
        return True

    def record(
        self, start: int, end: int, puts: Sequence[Put], duplicates: Sequence[int] | None = None
    ) -> PutRange | None:
        """Remember what is about to be put.

        Args:
            start: Where the range begins.
            end: Where the range ends.
            puts: Every put from ``start`` to ``end``.
            duplicates: The ends of the events that had come before; None where nobody asked.

        Returns:
            The entry that the put log must have before anything is put; None where the range is recorded already.
        """
        batches: dict[str, list[tuple[int, int]]] = {}
        for name, there in self.put.items():
            if there > start:
                # Put before and never recorded: an entry without it would say that the store had nothing to lose.
                batches[name] = [(start, min(there, end))]
        for put in puts:
            batches.setdefault(put.destination, []).append((put.start, put.end))
        slots = {name: slot for name, slot in self.slots.items() if slot}
        entry = PutRange(start, end, batches, slots, duplicates)
        return entry if self._remember(entry) else None

    def confirm(self, puts: Sequence[Put]) -> None:
        """Remember that the store has taken ``puts``."""
        for put in puts:
            self.put[put.destination] = max(put.end, self.put.get(put.destination, -1))

    def is_behind(self, progress: Mapping[str, Progress]) -> bool:
        """Whether the store has less than it had, settled or not: it has lost its last seconds."""
        return any(answer.put < self.put.get(name, -1) for name, answer in progress.items())

    def update(self, progress: Mapping[str, Progress], position: int) -> None:
        """Take over what the store answers. Sets ``lost_from`` where the store has less than it had.

        Args:
            progress: What the store has, by destination.
            position: Up to where the journal was put when the store was asked.
        """
        lost = []
        for name, answer in progress.items():
            self.settled.setdefault(name, self._from)
            expected = max(self.put.get(name, -1), self._unrecorded if self._unrecorded > self._from else -1)
            has = max(answer.put, self.settled[name])
            if has < expected:
                lost.append(has)
                self._lost_until[name] = max(expected, self._lost_until.get(name, -1))
            elif expected < 0 and answer.open < 0:
                # Nothing was ever put for it, as for a destination that is new in the settings.
                self.settled[name] = max(self.settled[name], position)
        self.put |= {name: answer.put for name, answer in progress.items()}
        self.slots |= {name: answer.slot for name, answer in progress.items()}
        self._unrecorded = self._from
        if lost:
            self.has_lost = True
            self.lost_from = min([*lost, *([] if self.lost_from is None else [self.lost_from])])
        elif self.lost_from is None:
            for name, answer in progress.items():
                self.settled[name] = max(self.settled[name], position if answer.open < 0 else answer.open)
            del self._ranges[: bisect_right(self._ranges, self.settled_everywhere, key=_end)]

    def clear_loss(self) -> None:
        """Forget ``lost_from``: what was lost is being read again."""
        self.lost_from = None

    @property
    def settled_everywhere(self) -> int:
        """Up to where everything is settled at every destination."""
        return min(self.settled.values(), default=self._from)

    def starts(self, position: int) -> dict[str, int]:
        """From where on each destination gets what is read from ``position`` on."""
        return {name: max(position, put, self.settled.get(name, self._from)) for name, put in self.put.items()}

    def is_again(self, put: Put) -> bool:
        """Whether the store may have had this put, and have lost it after a delivery."""
        return put.start < self._lost_until.get(put.destination, -1)

    def recorded_range(self, position: int) -> PutRange | None:
        """The first recorded range that ends behind ``position``; None where no such range is recorded."""
        at = bisect_right(self._ranges, position, key=_end)
        return self._ranges[at] if at < len(self._ranges) else None

    def range_end_before(self, position: int) -> int:
        """The last end of a recorded range up to ``position``: a batch of no destination crosses it."""
        at = bisect_right(self._ranges, position, key=_end)
        return self._ranges[at - 1].end if at else self._from
