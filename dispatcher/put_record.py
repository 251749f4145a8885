"""PutRecord: what was put of one journal, and what of it is not known to be settled.

A Redis that comes back without its last second, or empty, has lost some of it. The record says from where on to put it
again, and how it was cut: a batch that is cut as before has its old id, by which a destination knows what it has got.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.batches import Progress, Put

# Stretches remembered, some hundred bytes each: an hour of light traffic. What is older is cut as it comes.
_MAX_STRETCHES: Final = 20_000


@dataclass(frozen=True, slots=True)
class PutStretch:
    """Part of a journal that was put in one go: from where to where, and each destination's cuts as (start, end)."""

    start: int
    end: int
    cuts: Mapping[str, tuple[tuple[int, int], ...]]


class PutRecord:
    """One journal's record. For the one thread of its relay.

    Args:
        progress: What the store knows of the journal, for each destination.
        position: Up to where the journal was put, as its outbox says.
        settled: Up to where all of that was known to be settled.
    """

    def __init__(self, progress: Mapping[str, Progress], *, position: int, settled: int) -> None:
        #: Up to where the store has the journal, for each destination.
        self.put: dict[str, int] = {name: found.put for name, found in progress.items()}
        #: Up to where everything is settled, for each destination.
        self.settled: dict[str, int] = dict.fromkeys(progress, settled)
        self._stretches: deque[PutStretch] = deque(maxlen=_MAX_STRETCHES)
        # Of a journal that is known nowhere any more, although some of it was not settled, everything was lost.
        is_lost = position > settled and all(found.put < 0 for found in progress.values())
        #: From where on the store has lost what it had; None where it has not.
        self.lost_from: int | None = settled if is_lost else None
        if self.lost_from is None:
            self._settle(progress, position)

    def note(self, start: int, end: int, puts: Sequence[Put]) -> None:
        """The store has taken these, which are all that there was from ``start`` to ``end``."""
        cuts: dict[str, list[tuple[int, int]]] = {}
        for put in puts:
            self.put[put.destination] = max(put.end, self.put.get(put.destination, -1))
            cuts.setdefault(put.destination, []).append((put.start, put.end))
        if self._stretches and self._stretches[-1].end >= end:
            return  # put again, as it was cut before
        self._stretches.append(PutStretch(start, end, {name: tuple(found) for name, found in cuts.items()}))

    def learn(self, progress: Mapping[str, Progress], position: int) -> None:
        """Compare with what the store knows now, and take it over. ``lost_from`` says what it has lost, if anything.

        Args:
            position: Up to where the journal was put when the store was asked.
        """
        lost = [
            max(found.put, self.settled.get(name, 0))
            for name, found in progress.items()
            if found.put < self.put.get(name, -1)
        ]
        self.put |= {name: found.put for name, found in progress.items()}
        if lost:
            self.lost_from = min([*lost, *([] if self.lost_from is None else [self.lost_from])])
        elif self.lost_from is None:
            self._settle(progress, position)

    def _settle(self, progress: Mapping[str, Progress], position: int) -> None:
        for name, found in progress.items():
            self.settled[name] = max(self.settled.get(name, 0), position if found.open < 0 else found.open)
        while self._stretches and self._stretches[0].end <= self.settled_everywhere:
            self._stretches.popleft()

    @property
    def settled_everywhere(self) -> int:
        """Up to where everything is settled at every destination."""
        return min(self.settled.values(), default=0)

    def starts(self, position: int) -> dict[str, int]:
        """From where on each destination is to get what is read from ``position`` on."""
        return {name: max(position, put, self.settled.get(name, 0)) for name, put in self.put.items()}

    def stretch_from(self, position: int) -> PutStretch | None:
        """The stretch that was put from ``position`` on, or the next one behind it. None where nothing was."""
        at = bisect_right(self._stretches, position, key=lambda stretch: stretch.end)
        return self._stretches[at] if at < len(self._stretches) else None

    def rewound(self) -> None:
        """What was lost is being read again."""
        self.lost_from = None
