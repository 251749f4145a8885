"""GatheredEvents: the events of a range of which some may have come before, held until the store has said which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.relay.batching import JournalRange
    from dispatcher.store.batches import BatchStore
    from dispatcher.store.event_ids import IdWindow


class GatheredEvents:
    """Stands in for a JournalRange while it is read. For one thread."""

    def __init__(self, end: int) -> None:
        self._payloads: list[bytes] = []
        self._ends: list[int] = []
        #: The position up to which was read.
        self.end = end

    def add(self, payloads: Sequence[bytes], ends: Sequence[int]) -> None:
        """Hold events, oldest first, with the position behind each."""
        self._payloads += payloads
        self._ends += ends
        self.end = ends[-1]

    def move_to(self, journal_range: JournalRange, journal: str, store: BatchStore, window: IdWindow) -> None:
        """Add all to the range, those whose ids came before as duplicates. Asks the store.

        Raises:
            StoreUnavailableError: The store did not answer. It answers the same when it is asked again.
        """
        if self._payloads:
            repeats = store.find_repeats(journal, self._payloads, self._ends, window)
            duplicates = frozenset(end for end, repeats in zip(self._ends, repeats, strict=True) if repeats)
            journal_range.add(self._payloads, self._ends, duplicates)
        journal_range.end = self.end
