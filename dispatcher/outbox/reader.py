"""Reader: the relay's side of one outbox directory. It goes on where the last reader stopped, in bounded memory."""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.errors import BlankStateError, OutboxInUseError
from dispatcher.outbox.damage import set_aside
from dispatcher.outbox.journal import HEADER_BYTES, SUFFIX, Frames, journal_path, notes_path, parse, resynchronise
from dispatcher.outbox.listing import RELAY_LOCK, STATE, disk_bytes, journal_indexes, remove_litter, remove_outbox
from dispatcher.outbox.permissions import pass_on_group
from dispatcher.outbox.state import State
from dispatcher.wire import trim

logger = logging.getLogger(__name__)

# Bytes read from a file at once; some 200 events of the usual size.
_CHUNK_BYTES: Final = 262_144
_BACKLOG_CHUNK_BYTES: Final = 1_048_576
#: Frames handed out at once: parsing them takes the interpreter for some 50 µs, which an emit beside it can wait for.
SLICE_FRAMES: Final = 64
# The header that stands where the next frame will be.
_NOTHING: Final = bytes(HEADER_BYTES)
# How often a frame is read that is not whole before it counts as damaged: another processor may see a store late.
_PATIENCE: Final = 3

# A dead writer's last file is cut when it has so many bytes too many.
_WORTH_BYTES: Final = 65_536

# The open readers, which a forked child closes.
_open: Final[set[Reader]] = set()


class Reader:
    """Reads one outbox directory, whose writer may be alive or dead. One thread at a time; holds the relay's lock.

    Raises:
        OutboxInUseError: Another relay reads it.
        OutboxError: The directory is not an outbox.
        OSError: It cannot be read.
    """

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory
        self.name: Final = directory.name
        self._pid = os.getpid()
        self._file: tuple[int, int] | None = None
        self._lock_fd = os.open(directory / RELAY_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            pass_on_group(self._lock_fd, directory)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.state: Final = _open_state(directory)
        except BlockingIOError:
            os.close(self._lock_fd)
            raise OutboxInUseError(f"another relay reads {directory}") from None
        except FileNotFoundError:
            # Its writer has just removed everything, and the lock was made again above.
            remove_litter(directory)
            os.close(self._lock_fd)
            raise
        except BaseException:
            os.close(self._lock_fd)
            raise
        _open.add(self)
        self._size = self.state.journal_bytes
        indexes = journal_indexes(directory)
        if indexes and self.state.position > (max(indexes) + 1) * self._size:
            # Nothing can have been read there; to believe it would throw away everything that waits.
            logger.error("the position in %s is beyond every journal: reading from the first again", directory / STATE)
            self.state.position = self.state.settled = min(indexes) * self._size
        #: ``read`` has returned everything before it.
        self.position = self.state.position
        # Settled events may have left files: a relay may be killed before it has deleted them.
        self._kept_from = min([*indexes, self.position // self._size])
        self._buffer = b""
        self._buffer_at = 0
        self._misses = 0

    def read(self) -> tuple[list[bytes], list[int]]:
        """The next payloads and the position behind each; both empty when there is nothing new.

        Call ``commit`` once they were put into the store. Damaged frames are set aside in the directory
        ``damaged`` beside the outboxes, and reading goes on behind them. Does not wait for events.
        """
        while True:
            index, offset = divmod(self.position, self._size)
            frames = self._parse(index, offset)
            if frames.payloads:
                self._misses = 0
                base = index * self._size
                self.position = base + frames.offset
                return frames.payloads, [base + end for end in frames.ends]
            if frames.rotated:
                self.position = (index + 1) * self._size
            elif frames.damaged:
                if not self._skip_damage(index, offset):
                    return [], []
            elif not self._skip_zeros(index, offset):
                return [], []

    def has_next(self) -> bool:
        """Whether something stands where the next ``read`` begins. One system call, and nothing is read ahead."""
        header = self._pread(*divmod(self.position, self._size), HEADER_BYTES)
        return bool(header) and header != _NOTHING

    def commit(self, position: int) -> None:
        """Record that everything before ``position`` is in the store. The files stay until ``discard_before``."""
        self.state.position = position

    def discard_before(self, position: int) -> None:
        """Delete the files that hold only events before ``position``, which nobody will read again. Raises OSError."""
        self.state.settled = max(self.state.settled, position)
        index = position // self._size
        for done in range(self._kept_from, index):
            journal_path(self.directory, done).unlink(missing_ok=True)
            notes_path(self.directory, done).unlink(missing_ok=True)
        self._kept_from = max(self._kept_from, index)

    @property
    def kept_bytes(self) -> int:
        """The bytes of the files that hold only committed events."""
        return max(0, self.state.position // self._size - self._kept_from) * self._size

    def rewind(self, position: int | None = None) -> None:
        """Read again what is not committed; or all from ``position`` on, as far as its files still exist.

        What follows that position counts as not committed then.
        """
        if position is not None and position < self.state.position:
            self.state.position = max(position, self.state.settled)
        self.position = self.state.position
        self._buffer = b""

    def seek(self, position: int) -> None:
        """Let the next ``read`` begin at ``position``, which must be the end of an event."""
        self.position = position

    @property
    def writer_is_dead(self) -> bool:
        """Whether the process that wrote here has ended. Once True, it stays so."""
        return self.state.try_lock()

    def give_back(self) -> None:
        """Free the disk space that a dead writer allocated and did not use. Call it once everything was read."""
        with suppress(OSError):  # then it stays allocated, and nothing is lost
            (self.directory / f"spare{SUFFIX}").unlink(missing_ok=True)
            index, offset = divmod(self.position, self._size)
            path = journal_path(self.directory, index)
            if disk_bytes(path) > offset + _WORTH_BYTES and not journal_path(self.directory, index + 1).exists():
                # First, since a blank state page is made anew from the size of this file.
                self.state.sync()
                os.truncate(path, offset)

    def remove(self) -> None:
        """Delete the directory. Only for one whose writer is dead and of which everything is settled."""
        remove_outbox(self.directory)

    def close(self) -> None:
        """Release the lock and close the files. May be called twice."""
        _open.discard(self)
        self._close_file()
        if self._lock_fd >= 0:
            self.state.close()
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _parse(self, index: int, offset: int) -> Frames:
        at = index * self._size + offset - self._buffer_at
        if 0 <= at < len(self._buffer):
            frames = parse(self._buffer, at, limit=SLICE_FRAMES)
            if frames.payloads or frames.rotated:
                return self._shifted(frames, index)
        # What is left of the buffer is stale or holds half a frame: read on from here, if only to look whether there is
        # anything, as an idle relay does many times a second.
        if self._pread(index, offset, HEADER_BYTES) == _NOTHING:
            return Frames([], [], offset)
        # Where the last read was full of events to its end, there is a backlog.
        behind = self._buffer[at : at + HEADER_BYTES] != _NOTHING if self._buffer else False
        frames = self._load(index, offset, _BACKLOG_CHUNK_BYTES if behind else _CHUNK_BYTES)
        if frames.damaged and not frames.payloads:
            frames = self._load(index, offset, self._size)
        return frames

    def _load(self, index: int, offset: int, size: int) -> Frames:
        self._buffer = self._pread(index, offset, min(size, self._size - offset))
        self._buffer_at = index * self._size + offset
        return self._shifted(parse(self._buffer, 0, limit=SLICE_FRAMES), index)

    def _shifted(self, frames: Frames, index: int) -> Frames:
        shift = self._buffer_at - index * self._size
        ends = [end + shift for end in frames.ends]
        # Less than a header is left at the end of a file: no frame and no mark fits there.
        rotated = frames.rotated or frames.offset + shift + 8 > self._size
        return Frames(frames.payloads, ends, frames.offset + shift, rotated=rotated, damaged=frames.damaged)

    def _pread(self, index: int, offset: int, size: int) -> bytes:
        if self._file is None or self._file[0] != index:
            self._close_file()
            try:
                fd = os.open(journal_path(self.directory, index), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
            self._file = (index, fd)
        return os.pread(self._file[1], size, offset)

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file[1])
            self._file = None

    def _skip_damage(self, index: int, offset: int) -> bool:
        """Go on behind damaged bytes. False if a living writer may still be writing them."""
        self._misses += 1
        if self._misses < _PATIENCE and not self.writer_is_dead:
            return False
        rest = self._pread(index, offset, self._size - offset)
        if _can_be_read(rest):
            self._buffer = b""
            return True
        rest = trim(rest)
        found = resynchronise(rest, 0)
        if found is None and not (journal_path(self.directory, index + 1).exists() or self.writer_is_dead):
            return False  # the writer goes on behind the damage; its next frame will show where
        self._misses = 0
        self._set_aside(index, offset, rest[:found])
        self._buffer = b""
        self.position = (index + 1) * self._size if found is None else index * self._size + offset + found
        return True

    def _skip_zeros(self, index: int, offset: int) -> bool:
        """Go on behind zeros, or a file that ends, if more was written behind them. False if they may be the end.

        They are the end only if a living writer has not gone on to a later file; a power cut leaves zeros too.
        """
        later = [other for other in journal_indexes(self.directory) if other > index]
        has_gone_on = any(self._pread(other, 0, self._size).strip(b"\0") for other in later)
        # A writer takes the next file just before it marks this one. Until the next has events, this one is read again.
        if not has_gone_on and not self.writer_is_dead:
            return False
        rest = self._pread(index, offset, self._size - offset)
        if _can_be_read(rest):
            # Its writer has appended here, and gone on, since the zeros were read.
            self._buffer = b""
            return True
        found = resynchronise(rest, 0)
        if found is None and not later:
            return False
        if found is not None or has_gone_on or len(rest) < self._size - offset:
            missing = self._size - offset if found is None else found
            self._set_aside(index, offset, rest[:found].strip(b"\0"), missing=missing)
        self.position = later[0] * self._size if found is None else self.position + found
        self._buffer = b""
        return True

    def _set_aside(self, index: int, offset: int, piece: bytes, *, missing: int = 0) -> None:
        position = index * self._size + offset
        set_aside(journal_path(self.directory, index), position=position, offset=offset, piece=piece, missing=missing)


def _can_be_read(rest: bytes) -> bool:
    """Whether the bytes start with a frame, or with the mark of a finished file."""
    frames = parse(rest, 0, limit=1)
    return bool(frames.payloads) or frames.rotated


def _open_state(directory: Path) -> State:
    try:
        return State.open(directory, writable=True)
    except BlankStateError as error:
        state = State.recover(directory)
        logger.error("%s; it was made anew, and the journals beside it are read from the start", error)
        return state


def abandon_inherited() -> None:
    """In a forked child: release the locks that the parent's relay holds.

    Otherwise nobody could adopt the outboxes of a dead parent as long as the child lives. May be called twice.
    """
    for reader in tuple(_open):
        if reader._pid != os.getpid():
            reader.close()


os.register_at_fork(after_in_child=abandon_inherited)
