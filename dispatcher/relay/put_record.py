"""PutRecord: what was put of one journal, and what of it is not known to be settled. Pure.

A Redis that comes back without its last second, or empty, has lost some of it. The record says from where on to put it
again, and how it was cut. A gap is a loss until the notes show that nothing was put there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

from dispatcher.relay.put_log import PutStretch
from dispatcher.store.batches import Progress, Put

# Stretches remembered, some hundred bytes each: an hour of light traffic. What is older is cut as it comes.
_MAX_STRETCHES = 20_000


class PutRecord:
    """One journal's record. For the one thread of its relay.

    Args:
        notes: What relays have noted, by where it starts.
        position: Up to where the journal was put, as its outbox says.
        settled: Up to where all of that was known to be settled.
    """

    def __init__(self, notes: Sequence[PutStretch] = (), *, position: int, settled: int) -> None:
        self._from = settled
        #: Up to where everything is settled, for each destination.
        self.settled: dict[str, int] = {}
        #: Up to where the store has the journal, for each destination, as far as this relay knows.
        self.put: dict[str, int] = {}
        # What is noted and not settled, by where it starts; no two overlap.
        self._stretches: list[PutStretch] = []
        # Up to where something was put that no note is about: before it, each destination has to have everything.
        self._unnoted = settled
        for note in notes:
            self._recall(note, position)
        if self._noted_end() < position:
            self._unnoted = position
        # Up to where each destination had something that the store has lost since: it may have been delivered already.
        self._lost_until: dict[str, int] = {}
        #: From where on the store has lost what it had; None where it has not, or that is being put again.
        self.lost_from: int | None = None
        #: Whether it was seen to have lost anything.
        self.has_lost = False

    def _recall(self, note: PutStretch, position: int) -> None:
        if note.end <= self._from:
            return
        if self._noted_end() < note.start <= position:
            self._unnoted = note.start
        self._remember(note)
        for name, cuts in note.cuts.items():
            for start, end in cuts:
                if start < self._from < end:
                    # Had the batch not been settled, no more than what is before it could be settled everywhere.
                    self.settled[name] = end
        # A stretch behind the position was noted, but whether it was put its relay has not lived to say.
        if note.end <= position:
            for name, cuts in note.cuts.items():
                self.put[name] = max(cuts[-1][1], self.put.get(name, -1))

    def _noted_end(self) -> int:
        return max(self._from, self._stretches[-1].end) if self._stretches else self._from

    def _remember(self, stretch: PutStretch) -> bool:
        at = bisect_left(self._stretches, stretch.start, key=lambda one: one.start)
        is_new = (at == 0 or self._stretches[at - 1].end <= stretch.start) and (
            at == len(self._stretches) or self._stretches[at].start >= stretch.end
        )
        if is_new:
            self._stretches.insert(at, stretch)
            if len(self._stretches) > _MAX_STRETCHES:
                del self._stretches[: _MAX_STRETCHES // 10]
        return is_new

    def note(self, start: int, end: int, puts: Sequence[Put]) -> PutStretch | None:
        """These are about to be put, which are all that there is from ``start`` to ``end``.

        Returns:
            What has to be noted of it durably, before it is put; None for what is noted already.
        """
        cuts: dict[str, list[tuple[int, int]]] = {}
        for name, there in self.put.items():
            if there > start:
                # Put before, and nobody has noted how: a note without it would say that it had nothing to lose.
                cuts[name] = [(start, min(there, end))]
        for put in puts:
            cuts.setdefault(put.destination, []).append((put.start, put.end))
        stretch = PutStretch(start, end, cuts)
        return stretch if self._remember(stretch) else None

    def confirm(self, puts: Sequence[Put]) -> None:
        """The store has taken these."""
        for put in puts:
            self.put[put.destination] = max(put.end, self.put.get(put.destination, -1))

    def learn(self, progress: Mapping[str, Progress], position: int) -> None:
        """Compare with what the store knows now, and take it over. ``lost_from`` says what it has lost, if anything.

        Args:
            position: Up to where the journal was put when the store was asked.
        """
        lost = []
        for name, found in progress.items():
            self.settled.setdefault(name, self._from)
            expected = max(self.put.get(name, -1), self._unnoted if self._unnoted > self._from else -1)
            has = max(found.put, self.settled[name])
            if has < expected:
                lost.append(has)
                self._lost_until[name] = max(expected, self._lost_until.get(name, -1))
            elif expected < 0 and found.open < 0:
                # Nothing was ever put for it, as for a destination that the settings have named only now.
                self.settled[name] = max(self.settled[name], position)
        self.put |= {name: found.put for name, found in progress.items()}
        self._unnoted = self._from
        if lost:
            self.has_lost = True
            self.lost_from = min([*lost, *([] if self.lost_from is None else [self.lost_from])])
        elif self.lost_from is None:
            self._settle(progress, position)

    def _settle(self, progress: Mapping[str, Progress], position: int) -> None:
        for name, found in progress.items():
            self.settled[name] = max(self.settled[name], position if found.open < 0 else found.open)
        done = bisect_right(self._stretches, self.settled_everywhere, key=lambda stretch: stretch.end)
        del self._stretches[:done]

    @property
    def settled_everywhere(self) -> int:
        """Up to where everything is settled at every destination."""
        return min(self.settled.values(), default=self._from)

    def starts(self, position: int) -> dict[str, int]:
        """From where on each destination is to get what is read from ``position`` on."""
        return {name: max(position, put, self.settled.get(name, self._from)) for name, put in self.put.items()}

    def is_again(self, put: Put) -> bool:
        """Whether it may have been put before, and delivered, until the store lost it."""
        return put.start < self._lost_until.get(put.destination, -1)

    def stretch_from(self, position: int) -> PutStretch | None:
        """The stretch that was noted from ``position`` on, or the next one behind it. None where nothing was."""
        at = bisect_right(self._stretches, position, key=lambda stretch: stretch.end)
        return self._stretches[at] if at < len(self._stretches) else None

    def end_before(self, position: int) -> int:
        """The last end of a stretch up to ``position``: no destination has a batch across it."""
        at = bisect_right(self._stretches, position, key=lambda stretch: stretch.end)
        return self._stretches[at - 1].end if at else self._from

    def rewound(self) -> None:
        """What was lost is being read again."""
        self.lost_from = None
