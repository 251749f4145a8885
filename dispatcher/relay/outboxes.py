"""Outboxes: those that one relay has open. Its own, those of living processes, and a few of dead ones at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.errors import OutboxError, OutboxInUseError
from dispatcher.outbox import Reader
from dispatcher.outbox.disk_usage import DiskUsage
from dispatcher.outbox.state import PROCESS_SLEEPS, THREAD_SLEEPS, has_writer
from dispatcher.outbox.stats import survey
from dispatcher.relay.adoption import MAX_OPEN, Adoption
from dispatcher.relay.relayed_outbox import RelayedOutbox
from dispatcher.store.batches import BatchStore

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds between two log lines about an outbox that cannot be read.
_LOG_SECONDS: Final = 60.0
# Seconds until this process's own outbox is looked for again while another relay has it: at first, doubled each time.
_OWN_SECONDS: Final = 0.05


class Outboxes:
    """The open outboxes of a relay. Iterate to get them. One thread at a time.

    Args:
        settings: Where the outboxes are. Assign new ones after a change.
        own: The directory of this process's outbox; None for a relay in a process of its own.
        store: Passed on to each outbox.
        clock: Gives seconds that never go back.
    """

    def __init__(self, settings: Settings, *, own: Path | None, store: BatchStore, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._own = own
        self._store = store
        self._clock = clock
        self._usage = DiskUsage(settings.outbox_directory)
        self._adoption = Adoption(settings.outbox_directory, clock=clock)
        self._open: dict[Path, RelayedOutbox] = {}
        self._searched_at = float("-inf")
        self._own_seconds = _OWN_SECONDS
        self._tidied_at = float("-inf")
        self._logged_at: dict[Path, float] = {}
        #: Whether what is kept of dead processes takes the room of what is emitted.
        self.is_room_needed = False

    def __iter__(self) -> Iterator[RelayedOutbox]:
        # A copy, since an outbox may be closed meanwhile.
        return iter(tuple(self._open.values()))

    @property
    def only_outbox(self) -> Path | None:
        """This process's own outbox; None where this relay looks after the dead, or has none of its own."""
        return None if self._adoption.has_lock else self._own

    def search(self, *, now: bool = False) -> bool:
        """Open outboxes that are new and that this relay may relay.

        Args:
            now: Read the disk now; else only every ``relay.adopt_seconds``, and sooner while this process's own outbox
                is not open.

        Returns:
            Whether the disk was read.
        """
        if not now and self.search_in() > 0:
            return False
        self._searched_at = self._clock()
        if self._own is not None and self._own not in self._open:
            has_own = self._take(self._own, adopts=False)
            self._own_seconds = _OWN_SECONDS if has_own else 2 * self._own_seconds
        adopts = self._adoption.is_ours()
        if not adopts and self._own is not None:
            return True
        has_place = self._has_place()
        for directory in self._adoption.find(self._open, every_seconds=self.settings.relay.adopt_seconds):
            if (has_place or not self._adoption.is_dead(directory)) and self._take(directory, adopts=adopts):
                has_place = self._has_place()
        if adopts:
            self._tidy()
        return True

    def search_in(self) -> float:
        """In how many seconds ``search`` reads the disk the next time."""
        every = self.settings.relay.adopt_seconds
        if self._own is not None and self._own not in self._open:
            # It may be locked for a moment by another process that checks whether its writer is dead.
            every = min(every, self._own_seconds)
        return max(0.0, self._searched_at + every - self._clock())

    def fall_asleep(self) -> bool:
        """Have every writer wake this relay at its next event. False where something came in the meantime."""
        value = PROCESS_SLEEPS if self._own is None else THREAD_SLEEPS
        quiet = [outbox.is_asleep or (not self.is_adopted(outbox) and outbox.fall_asleep(value)) for outbox in self]
        return all(quiet)

    def is_adopted(self, outbox: RelayedOutbox) -> bool:
        """Whether it is a dead process's outbox."""
        return outbox.directory != self._own and outbox.reader.writer_is_dead

    def are_filling(self) -> bool:
        """Whether what is kept may soon take the room of what is emitted."""
        return self._usage.exceeds(self.settings.outbox.max_bytes // 2)

    def is_drained(self) -> bool:
        """Whether everything that this relay may put is put. Reads the disk.

        Raises:
            OutboxError: All outboxes are drained but those that cannot be read.
        """
        self.search(now=True)
        if not all(outbox.is_empty() for outbox in self):
            return False
        root = self.settings.outbox_directory
        others = [other for other in survey(root) if root / other.name not in self._open]
        if any(other.waiting and not other.alive and not other.problem for other in others):
            return False
        unread = [other for other in others if other.problem]
        if unread:
            more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
            raise OutboxError(f"the outbox {unread[0].name}{more} cannot be read: {unread[0].problem}")
        return True

    def log_unreadable(self, directory: Path, error: Exception) -> None:
        """Log that an outbox cannot be read, once a minute."""
        if self._clock() - self._logged_at.get(directory, float("-inf")) >= _LOG_SECONDS:
            self._logged_at[directory] = self._clock()
            logger.error("the outbox %s cannot be read: %s", directory, error)

    def close_adopted(self, outbox: RelayedOutbox) -> None:
        """Close a dead process's outbox of which everything is put. Removes it where everything is settled."""
        if self._adoption.is_ours():
            if outbox.is_settled:
                outbox.reader.remove()
                self._adoption.forget(outbox.directory)
            else:
                outbox.reader.give_back()
                self._adoption.postpone(outbox.directory)
        del self._open[outbox.directory]
        outbox.reader.close()
        # Another outbox may wait for its place.
        self._searched_at = float("-inf")

    def close(self) -> None:
        """Close all, and let another relay look after dead processes. May be called twice."""
        for outbox in self:
            outbox.wake_up()
            outbox.reader.close()
        self._open.clear()
        self._adoption.close()

    def _tidy(self) -> None:
        """Every ``relay.adopt_seconds``: remove litter, and check whether room is needed."""
        if self._clock() - self._tidied_at < self.settings.relay.adopt_seconds:
            return
        self._tidied_at = self._clock()
        self._adoption.clear_litter()
        self._usage.count_now_and_then()
        self.is_room_needed = self.are_filling()
        if self.is_room_needed:
            self._adoption.wake()

    def _take(self, directory: Path, *, adopts: bool) -> bool:
        try:
            # Without a reader, whose lock a living process's own relay would miss for a moment.
            if self._own is not None and directory != self._own and has_writer(directory):
                self._adoption.leave(directory)
                return False
            reader = Reader(directory)
        except OutboxInUseError:
            self._adoption.leave(directory)
            return False
        except FileNotFoundError:
            return False  # another relay has removed it in the meantime, or it was never whole
        except (OutboxError, OSError) as error:
            self.log_unreadable(directory, error)
            return False
        if directory != self._own:
            if not self._may_take(reader, adopts=adopts):
                reader.close()
                return False
            if reader.writer_is_dead and not self._adoption.has_put(directory):
                logger.info("relaying the outbox %s, whose process %d is gone", directory, reader.state.pid)
        self._open[directory] = RelayedOutbox(reader, self._store, clock=self._clock)
        return True

    def _may_take(self, reader: Reader, *, adopts: bool) -> bool:
        if not reader.writer_is_dead:
            return self._own is None  # else its own process relays it
        if not adopts:
            return False
        if self._has_place():
            return True
        self._adoption.queue(reader.directory)
        return False

    def _has_place(self) -> bool:
        """Whether another dead process's outbox may be opened."""
        return sum(map(self.is_adopted, self)) < MAX_OPEN
