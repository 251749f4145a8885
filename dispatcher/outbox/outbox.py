"""Outbox: the journals that one process writes to, in a directory of its own.

``append`` is the hot path: no system call, no wait for anything but another thread's copy into the map.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4
from zlib import crc32

from dispatcher.errors import OutboxError, OutboxFullError
from dispatcher.outbox.journal import HEADER, HEADER_BYTES, ROTATED, Journal
from dispatcher.outbox.journal_files import JournalFiles
from dispatcher.outbox.listing import remove_outbox
from dispatcher.outbox.permissions import file_in_the_way, pass_on_group
from dispatcher.outbox.relay_fifo import APPENDED, wake_relay
from dispatcher.outbox.state import AWAKE, PROCESS_SLEEPS, SLEEPING, THREAD_SLEEPS, State
from dispatcher.process.clock import monotonic
from dispatcher.process.inheritance import release_after_fork

_pack = HEADER.pack_into

# Seconds for which a full outbox refuses at once, before it checks again for room.
_REFUSE_SECONDS: Final = 0.2
# The errors of a full disk, an exhausted quota and a file at its largest size.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Outbox:
    """A durable queue on local disk with one writing process. Safe in threads; a forked child needs one of its own.

    Args:
        root: The directory of all outboxes; made, with mode 0700, where it does not exist. If it has the
            set-group-id bit, what is made in it has the rights of its group too.
        journal_bytes: The size of one journal file; rounded down to a multiple of 8, as positions are.
        max_bytes: What all outboxes under ``root`` may take up together.
        sync_seconds: How often what is not relayed yet is synced to disk.

    Raises:
        OutboxError: The directory cannot be made or written to.
    """

    def __init__(self, root: Path, *, journal_bytes: int, max_bytes: int, sync_seconds: float = 1.0) -> None:
        self.pid: Final = os.getpid()
        self.name: Final = f"{self.pid}-{uuid4().hex[:16]}"
        self.directory: Final = root / self.name
        self.journal_bytes: Final = journal_bytes & -8
        self._max_bytes = max_bytes
        self._refusal: OSError | None = None
        self._refuse_until = 0.0
        # Re-entrant, since a signal handler or a finalizer that emits may run while this very thread holds it.
        self._lock = threading.RLock()
        self._acquire, self._release = self._lock.acquire, self._lock.release
        self._closed = False
        self._relayed = 0
        self._rotating = False
        self._late: list[bytes] = []
        self._wake_thread: Callable[[], None] | None = None
        try:
            self.state: Final = _make_directory(root, self.directory, self.journal_bytes)
            self._files = JournalFiles(self.directory, size=self.journal_bytes, max_bytes=max_bytes, state=self.state)
            self._journal = self._take_first()
        except OSError as error:
            file = file_in_the_way(root)
            raise OutboxError(
                f"the outbox directory {root} cannot be used: {error.strerror or error}; "
                f"{'make it writable for this user' if file is None else f'{file} is a file: move it away'}, or set "
                "outbox.directory (DISPATCHER_OUTBOX__DIRECTORY) to a directory on a local disk with room"
            ) from error
        self._map = self._journal.map
        self._page = self.state.page
        self._index = 0
        self._offset = 0
        # The offset up to which events may be written now: behind it the file has no space on the disk yet.
        self._limit = self._files.limit(self._journal)
        release_after_fork(self, Outbox.abandon)
        self._files.keep(sync_seconds, lambda: self.position)

    def _take_first(self) -> Journal:
        try:
            return self._files.take(0)
        except OSError:
            # Otherwise each attempt would leave an open file, and a directory whose process seems to live.
            remove_outbox(self.directory)
            self.state.close()
            raise

    @property
    def position(self) -> int:
        """The position of the next event. Every event before it is in the journal."""
        return self._index * self.journal_bytes + self._offset

    def has_relayed(self, position: int) -> bool:
        """Whether everything before ``position`` was put into the batch store."""
        return (self._relayed if self._closed else self.state.position) >= position

    def append(self, payload: bytes) -> None:
        """Append one encoded event. Once this returns, the event survives the death of the process.

        Takes one to two microseconds, and waits only for another thread's copy. Safe in threads, in signal handlers and
        in finalizers.

        Raises:
            OutboxFullError: ``max_bytes`` are in use, or the disk is full. Nothing was written.
            OutboxError: The next file cannot be made for another reason. Nothing was written.
        """
        size = len(payload)
        header = crc32(payload) << 32 | size
        try:
            # And release, rather than a with block, which takes twice as long. Inside the try, since a signal handler
            # that raises, as those of Ctrl-C and of time limits do, mostly runs just behind this call.
            self._acquire()
            start = self._offset
            end = start + HEADER_BYTES + size
            if end > self._limit:
                if not self._make_room(payload):
                    return
                start = self._offset
                end = start + HEADER_BYTES + size
            # From here to the commit no other thread and no signal handler gets in. A finalizer that emits can, where
            # the slice below sets off a collection: the offset has moved on by then, so that no frame is ever written
            # over; and a map that it made full is written to all the same, as this one has it still.
            journal = self._map
            self._offset = (end + 7) & -8
            journal[start + HEADER_BYTES : end] = payload
            _pack(journal, start, header)
        finally:
            try:  # noqa: SIM105 - suppress() would cost as much as the rest
                self._release()
            except RuntimeError:
                # A signal handler raised while this waited for the lock: what it raised is what the caller gets.
                pass
        # Behind the event, and behind the release, which no processor moves before it.
        try:
            if self._page[SLEEPING]:
                self._wake_relay()
        except ValueError:
            pass  # another thread has closed the outbox since

    def sync(self) -> None:
        """Wait until everything appended so far is on the disk, where it survives a loss of power. Blocks for the disk.

        Safe in threads; two calls at once take turns.

        Raises:
            OSError: The disk did not take it.
            OutboxError: The outbox is closed.
        """
        if self._closed:
            raise OutboxError(f"the outbox {self.directory} is closed; the next event opens another")
        self._files.sync(self.position)

    def wake_by(self, wake: Callable[[], None] | None) -> None:
        """Set what wakes the relay that is a thread of this process. It must be safe in signal handlers."""
        self._wake_thread = wake

    def _wake_relay(self) -> None:
        # Not the other way round: cleared behind the wake, it could be the mark of the next sleep.
        sleeping, self.state.sleeping = self.state.sleeping, AWAKE
        if sleeping == PROCESS_SLEEPS:
            wake_relay(self.directory.parent, APPENDED)
        elif sleeping == THREAD_SLEEPS:
            wake = self._wake_thread
            if wake is not None:
                wake()

    def _make_room(self, payload: bytes) -> bool:
        """Grow the file, or take the next one. False if this very thread is already doing so, and appends it then."""
        if self._rotating:
            self._late.append(payload)
            return False
        if self._closed:
            raise OutboxError(f"the outbox {self.directory} is closed; the next event opens another")
        end = HEADER_BYTES + len(payload)
        if end > self.journal_bytes:
            raise OutboxError(
                f"an event of {len(payload):,} bytes does not fit into a journal of {self.journal_bytes:,}: "
                "raise DISPATCHER_OUTBOX__JOURNAL_BYTES"
            )
        if self._refusal is not None and monotonic() < self._refuse_until:
            self._refuse(self._refusal)
        self._rotating = True
        try:
            if self._offset + end <= self.journal_bytes:
                self._limit = self._files.grow(self._journal, self._offset + end)
            else:
                self._rotate(end)
        except OSError as error:
            self._refusal, self._refuse_until = error, monotonic() + _REFUSE_SECONDS
            self._refuse(error)
        finally:
            self._rotating = False
        # What a signal handler emitted in the meantime.
        while self._late:
            self.append(self._late.pop(0))
        return self._offset + end <= self._limit or self._make_room(payload)

    def _rotate(self, wanted: int) -> None:
        finished = self._journal
        # For the mark, which stands where the next event would.
        marked = min(self._limit + HEADER_BYTES, self.journal_bytes)
        if finished.allocated < marked:
            finished.allocate(marked)
        following = self._files.take(self._index + 1)
        limit = self._files.limit(following)
        if wanted > limit:
            limit = self._files.grow(following, wanted)
        offset = self._offset  # only now: in the meantime a signal handler may have appended
        self._journal, self._map, self._limit = following, following.map, limit
        self._index, self._offset = self._index + 1, 0
        if offset + HEADER_BYTES <= self.journal_bytes:
            _pack(finished.map, offset, ROTATED)
        self._files.retire(finished.map)

    def _refuse(self, error: OSError) -> None:
        self.state.refused += 1 + len(self._late)
        self._late.clear()
        if error.errno not in _FULL:
            raise OutboxError(f"the outbox {self.directory} cannot make its next file: {error}") from error
        raise OutboxFullError(
            f"the outbox {self.directory.parent} is full ({error.strerror}; outbox.max_bytes is {self._max_bytes:,}); "
            "start workers and a relay so that it drains, give it more disk, or raise DISPATCHER_OUTBOX__MAX_BYTES"
        ) from error

    def close(self) -> None:
        """Close the files and release the lock. Remove the directory if all events are settled. May be called twice.

        Other events stay: for a relay that has to put them, and for a Redis that may lose them and get them again.
        Blocks up to five seconds.
        """
        with self._lock:
            if self._closed or os.getpid() != self.pid:
                return
            is_settled = self.state.settled >= self.position
            self._relayed = self.state.position
            # The next append finds no room, and then that the outbox is closed.
            self._closed, self._offset, self._limit = True, self.journal_bytes, self.journal_bytes
            self._files.close()
            if os.getpid() != self.pid:
                return  # the copy of a greenlet, in a child that was forked meanwhile
            if is_settled:
                remove_outbox(self.directory)
            self._map.close()
            self.state.close()

    def abandon(self) -> None:
        """In a forked child: release what was inherited, and leave the parent's files alone. Does not block."""
        # The copy of a greenlet may be appending: it finds no room, and then that the outbox is closed.
        self._closed, self._offset = True, self.journal_bytes
        self._wake_thread = None
        self._files.abandon()
        # A map that the parent's thread was looking into at the moment of the fork cannot be closed, and need not be.
        with suppress(BufferError):
            self._map.close()
        self.state.close()


def _make_directory(root: Path, directory: Path, journal_bytes: int) -> State:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Under a hidden name until it is locked: a relay that looks for the dead must not find it in between.
    hidden = directory.with_name(f".{directory.name}")
    try:
        hidden.mkdir(mode=0o700)
        pass_on_group(hidden, root)
        state = State.create(hidden, journal_bytes=journal_bytes)
        hidden.rename(directory)
    except OSError:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return state
