"""JournalIds: which events of a collector's journal came before, and the ids of those that came first of late.

A Redis that comes back without its last seconds has forgotten ids. It gets them again before it is asked for others:
else the second copy of an event would pass for the first, though the first has been delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.store.event_ids import IdWindow, fingerprints
from dispatcher.store.remembered_ids import RememberedIds

# As long as Redis may lose (UNSURE_SECONDS in store/lua/parts/journal.lua), and the most ids: some 9 MB.
_KEPT_SECONDS: Final = 10.0
_KEPT_IDS: Final = 100_000


class JournalIds:
    """The ids of one journal. For the one thread of its relay. Methods that ask the store raise StoreUnavailableError.

    Args:
        journal: Its name.
        store: Remembers them.
        clock: Gives seconds that never go back.
    """

    def __init__(self, journal: str, store: RememberedIds, *, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._asked = -1
        self._window: IdWindow | None = None
        # Those that came first: of the range that is being put; and of ranges that were put, with the time.
        self._pending = _Ids([], [])
        self._put: deque[tuple[float, _Ids]] = deque()
        self._count = 0
        #: Whether the store has answered that it has forgotten some.
        self.are_forgotten = False

    def find_duplicates(
        self, payloads: Sequence[bytes], ends: Sequence[int], window: IdWindow, recorded: Collection[int]
    ) -> frozenset[int] | None:
        """Find the events that came before. Blocks for a round trip for some thousand.

        Args:
            payloads: Events of the journal, in their order.
            ends: The position behind each.
            window: For how long ids are remembered.
            recorded: The ends of those that had come before when the same range was put. They still are duplicates: a
                destination that has got the range's batch takes no other events in its place.

        Returns:
            Their ends; None where the store has forgotten what it was asked: ``restore`` its memory, and ask again.
        """
        known = frozenset(recorded)
        asked = _Ids(fingerprints(self._journal, payloads, ends), ends).without(known)
        repeats = self._store.find_repeats(self._journal, asked.fingerprints, asked.ends, window, after=self._asked)
        if repeats is None:
            self.are_forgotten = True
            return None
        self._asked = max(self._asked, *asked.ends[-1:], -1)
        again = frozenset(end for end, is_repeat in zip(asked.ends, repeats, strict=True) if is_repeat)
        self._window = window
        self._pending = asked.without(again)
        return known | again

    def commit(self) -> None:
        """Keep the ids of the range that the store has taken."""
        if not self._pending.ends:
            return
        self._put.append((self._clock(), self._pending))
        self._count += len(self._pending.ends)
        self._pending = _Ids([], [])
        while self._count > _KEPT_IDS or self._put[0][0] < self._clock() - _KEPT_SECONDS:
            self._count -= len(self._put.popleft()[1].ends)

    def restore(self) -> None:
        """Have the store, which has lost what it knew, remember the ids of the last seconds again. Blocks for that."""
        self._asked = -1
        if self._window is not None:
            for _, ids in self._put:
                self._store.find_repeats(self._journal, ids.fingerprints, ids.ends, self._window)
        self.are_forgotten = False


@dataclass(frozen=True, slots=True)
class _Ids:
    """Fingerprints of events, and the position behind each."""

    fingerprints: Sequence[bytes]
    ends: Sequence[int]

    def without(self, ends: Collection[int]) -> _Ids:
        if not ends:
            return self
        left = [(one, end) for one, end in zip(self.fingerprints, self.ends, strict=True) if end not in ends]
        return _Ids([one for one, _ in left], [end for _, end in left])
