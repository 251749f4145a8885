"""GatheredEvents: the events of a collector's journal, held until the store has said which of them came before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from dispatcher.store import deprecated_calls
from dispatcher.store.event_ids import source_of

if TYPE_CHECKING:
    from dispatcher.relay.batching import JournalRange
    from dispatcher.relay.journal_ids import JournalIds
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

    def move_to(
        self,
        journal_range: JournalRange,
        ids: JournalIds,
        window: IdWindow | None,
        recorded: Collection[int] | None,
    ) -> bool:
        """Add all to the range, those whose ids came before as duplicates. Asks the store.

        Args:
            journal_range: Gets the events; and apart from them those that came by deprecated calls, for the first time,
                and the sources of the duplicates.
            ids: Of its journal.
            window: For how long ids are remembered; None: each event goes on.
            recorded: The ends of the range's duplicates where it was put before; None where that is not known.

        Returns:
            False where the store has forgotten what it was asked before: then nothing was added.

        Raises:
            StoreUnavailableError: The store did not answer. It answers the same when it is asked again.
        """
        if self._payloads:
            duplicates: Collection[int] | None = recorded
            if window is not None:
                duplicates = ids.find_duplicates(self._payloads, self._ends, window, recorded or ())
                if duplicates is None:
                    return False
            self._add_all(journal_range, duplicates)
        journal_range.end = self.end
        return True

    def _add_all(self, journal_range: JournalRange, duplicates: Collection[int] | None) -> None:
        known = frozenset(duplicates or ())
        events = list(zip(self._payloads, self._ends, strict=True))
        if duplicates is not None:
            journal_range.duplicates = [end for end in self._ends if end in known]
        if known:
            journal_range.repeats = [(source_of(payload), end) for payload, end in events if end in known]
        journal_range.add(self._payloads, self._ends, known)
        by_deprecated_call = deprecated_calls.find(self._payloads, self._ends)
        journal_range.by_deprecated_call = [one for one in by_deprecated_call if one[1] not in known]
