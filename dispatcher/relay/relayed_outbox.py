"""RelayedOutbox: one outbox while a relay reads it, and what the store is known to have of it."""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dispatcher.errors import DispatcherError, StoreUnavailableError
from dispatcher.outbox import Reader
from dispatcher.outbox.state import AWAKE
from dispatcher.process.clock import monotonic
from dispatcher.relay.batching import Batcher, JournalRange
from dispatcher.relay.gathered_events import GatheredEvents
from dispatcher.relay.journal_ids import JournalIds
from dispatcher.relay.journal_progress import JournalProgress
from dispatcher.relay.put_log import PutLog
from dispatcher.store.batches import BatchStore
from dispatcher.store.event_ids import IdWindow
from dispatcher.store.put import Put
from dispatcher.store.slots import slot_of

logger = logging.getLogger(__name__)


class PutRefusedError(DispatcherError):
    """The store has another part of a journal than this relay knew. Nothing is lost; the next step asks it first."""


class RelayedOutbox:
    """One outbox of a relay. For the relay's one thread.

    Methods that read or write files raise OSError; those that ask the store raise StoreUnavailableError.

    Args:
        reader: Reads the outbox, and holds its lock.
        store: Says how far it has the journal.
        clock: Gives seconds that never go back.
    """

    def __init__(self, reader: Reader, store: BatchStore, *, clock: Callable[[], float] = monotonic) -> None:
        self.reader: Final = reader
        self._store = store
        self._log = PutLog(reader.directory, journal_bytes=reader.state.journal_bytes)
        self._progress: JournalProgress | None = None
        self._ids = JournalIds(reader.name, store.ids, clock=clock)
        reader.state.sleeping = AWAKE  # a relay that was killed may have left another value
        self._may_sleep = False
        # Whether the store may have more, or less, of the journal than the progress says.
        self._is_doubtful = True

    @property
    def directory(self) -> Path:
        """Where it is on disk."""
        return self.reader.directory

    @property
    def is_settled(self) -> bool:
        """Whether everything that was put is settled at every destination, as far as is known."""
        return self.reader.state.settled >= self.reader.state.position

    @property
    def has_lost(self) -> bool:
        """Whether the store has lost some of the journal since the outbox was opened."""
        return self._progress is not None and self._progress.has_lost

    def is_empty(self) -> bool:
        """Whether nothing waits to be put. Reads the disk."""
        payloads, _ = self.reader.read()
        self.reader.rewind()
        return not payloads

    @property
    def is_asleep(self) -> bool:
        """Whether nothing was appended since ``fall_asleep``: its writer has not cleared the mark. No system call."""
        return self._may_sleep and self.reader.state.sleeping != AWAKE

    def fall_asleep(self, value: int) -> bool:
        """Have the writer wake the relay at its next event. Reads the disk.

        Args:
            value: Which relay it is: ``THREAD_SLEEPS`` or ``PROCESS_SLEEPS``.

        Returns:
            False where there is something to read already; then it stays awake.
        """
        # Mark first, look then: the writer appends first and looks at the mark then.
        self.reader.state.sleeping = value
        self._may_sleep = True
        if self.reader.has_next():
            self.wake_up()
        return self._may_sleep

    def wake_up(self) -> None:
        """Take the mark back: this relay is awake and looks for itself."""
        if self._may_sleep:
            self._may_sleep = False
            self.reader.state.sleeping = AWAKE

    def doubt(self) -> None:
        """Ask the store before anything else is put, and read again what was not committed."""
        self._is_doubtful = True
        self.reader.rewind()

    def compare(self, batcher: Batcher) -> bool:
        """Ask the store how far it has the journal, and go back to where it has lost something.

        Args:
            batcher: Knows the destinations for which it is asked, and how many slots they have. The journal keeps the
                slot that it has.

        Returns:
            False where nothing was ever put and nothing waits: then the store is not asked.
        """
        reader = self.reader
        if self._progress is None:
            if self.is_settled and self.is_empty():
                return False  # spare an idle process the connection
            entries = self._log.read()
            self._progress = JournalProgress(entries, position=reader.state.position, settled=reader.state.settled)
        position = reader.state.position
        new = {name: slot_of(reader.name, number) for name, number in batcher.slots.items()}
        slots = {**new, **self._progress.slots}
        answers = self._store.progress(batcher.destinations, reader.name, slots=slots)
        if self._ids.are_forgotten or self._progress.is_behind(answers):
            self._ids.restore()
        self._progress.update(answers, position)
        self._is_doubtful = False
        if self._progress.lost_from is None:
            return True
        reader.rewind(self._progress.lost_from)
        self._progress.clear_loss()
        if reader.state.position < position:  # else the store has forgotten only what was settled long ago
            logger.warning(
                "the batch store has lost what was put from %s: it is put again from position %d on, %d bytes",
                reader.directory,
                reader.state.position,
                position - reader.state.position,
            )
        return True

    def read_range(self, batcher: Batcher, *, max_bytes: int, pause: Callable[[], None]) -> tuple[JournalRange, bool]:
        """Read the next range of the journal and split it into batches.

        Where the store has lost a range, it is read on its own and split as the put log says.

        Args:
            batcher: Splits the range.
            max_bytes: Stop after so many bytes of events.
            pause: Called between slices of work.

        Returns:
            The range, closed, and whether more may follow it.

        Raises:
            PutRefusedError: The store has forgotten ids that it was asked for. Nothing was put.
        """
        if self._is_doubtful and not self.compare(batcher):
            return batcher.open_range(self.reader.name, self.reader.position), False
        assert self._progress is not None
        start = self.reader.position
        put, starts = self._progress.put, self._progress.starts(start)
        recorded = self._progress.recorded_range(start)
        is_recorded = recorded is not None and recorded.start <= start
        batches = recorded.batches if recorded is not None and is_recorded else None
        journal_range = batcher.open_range(self.reader.name, start, put=put, starts=starts, recorded=batches)
        # Only a collector takes events with their ids, and from what is deprecated.
        is_collectors = self.reader.state.ids_repeat
        target = GatheredEvents(journal_range.end) if is_collectors else journal_range
        if recorded is None:
            has_more = self._read_bytes(target, max_bytes, pause)
        else:
            has_more = self._read_until(target, recorded.end if is_recorded else recorded.start, pause)
        if isinstance(target, GatheredEvents):
            known = recorded.duplicates if recorded is not None and is_recorded else None
            self._move(target, journal_range, batcher.id_window, known)
        journal_range.close()
        return journal_range, has_more

    def _move(
        self, events: GatheredEvents, journal_range: JournalRange, window: IdWindow | None, known: Sequence[int] | None
    ) -> None:
        try:
            if not events.move_to(journal_range, self._ids, window, known):
                raise PutRefusedError(
                    f"the batch store has forgotten ids of the journal {self.reader.name}; it gets them again"
                )
        except (StoreUnavailableError, PutRefusedError):
            self.doubt()  # what was read is read again
            raise

    def _read_bytes(
        self, journal_range: JournalRange | GatheredEvents, max_bytes: int, pause: Callable[[], None]
    ) -> bool:
        size = 0
        while size < max_bytes:
            payloads, ends = self.reader.read()
            if not payloads:
                # Behind what is damaged, so that it is not read again.
                journal_range.end = self.reader.position
                return False
            journal_range.add(payloads, ends)
            size += sum(map(len, payloads))
            pause()
        return True

    def _read_until(
        self, journal_range: JournalRange | GatheredEvents, position: int, pause: Callable[[], None]
    ) -> bool:
        while True:
            payloads, ends = self.reader.read()
            if not payloads:
                return False
            if ends[-1] >= position:
                taken = bisect_right(ends, position)
                journal_range.add(payloads[:taken], ends[:taken])
                self.reader.seek(position)
                journal_range.end = position
                return True
            journal_range.add(payloads, ends)
            pause()

    def record(self, journal_range: JournalRange) -> list[Put]:
        """Record in the put log what is about to be put, with its slots, and mark what the store may have had."""
        assert self._progress is not None
        entry = self._progress.record(
            journal_range.start, journal_range.end, journal_range.puts, journal_range.duplicates
        )
        if entry is not None:
            self._log.append(entry)
        puts = [replace(put, again=True) if self._progress.is_again(put) else put for put in journal_range.puts]
        if not any(self._progress.slots.values()):
            return puts
        return [replace(put, slot=self._progress.slots.get(put.destination, 0)) for put in puts]

    def commit(self, puts: Sequence[Put], end: int) -> None:
        """Record that the store has taken batches.

        Args:
            puts: The batches.
            end: The position of the journal up to which everything is in the store now.
        """
        assert self._progress is not None
        self._progress.confirm(puts)
        self._ids.commit()
        self.reader.commit(end)

    def discard_settled(self) -> bool:
        """Delete the files of what is settled everywhere. Returns whether more is settled than was known."""
        assert self._progress is not None
        settled = min(self._progress.settled_everywhere, self.reader.state.position)
        if settled <= self.reader.state.settled:
            return False
        self.reader.discard_before(settled)
        return True

    def discard_older_half(self) -> None:
        """Delete the older half of the files of what was put, settled or not."""
        if self.reader.kept_bytes and self._progress is not None:
            middle = self.reader.state.position - self.reader.kept_bytes // 2
            self.reader.discard_before(self._progress.range_end_before(middle))

    def discard_put(self) -> None:
        """Delete the files of everything that was put, settled or not."""
        self.reader.discard_before(self.reader.state.position)
