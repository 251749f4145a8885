"""GatheredEvents: the events of a collector's journal, held until the store has said which of them came before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dispatcher.store import deprecated_calls
from dispatcher.store.event_ids import source_of

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

    def move_to(self, journal_range: JournalRange, journal: str, store: BatchStore, window: IdWindow | None) -> None:
        """Add all to the range, those whose ids came before as duplicates. Asks the store.

        Args:
            journal_range: Gets the events; and apart from them those that came by deprecated calls, for the first time,
                and the sources of the duplicates.
            journal: Its name.
            store: Is asked.
            window: For how long ids are remembered; None: each event goes on.

        Raises:
            StoreUnavailableError: The store did not answer. It answers the same when it is asked again.
        """
        if self._payloads:
            duplicates: frozenset[int] = frozenset()
            if window is not None:
                repeats = store.find_repeats(journal, self._payloads, self._ends, window)
                duplicates = frozenset(end for end, repeats in zip(self._ends, repeats, strict=True) if repeats)
                if duplicates:
                    journal_range.repeats = [
                        (source_of(payload), end)
                        for payload, end in zip(self._payloads, self._ends, strict=True)
                        if end in duplicates
                    ]
            journal_range.add(self._payloads, self._ends, duplicates)
            by_deprecated_call = deprecated_calls.find(self._payloads, self._ends)
            journal_range.by_deprecated_call = [one for one in by_deprecated_call if one[1] not in duplicates]
        journal_range.end = self.end
