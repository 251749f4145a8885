"""The state file of an outbox directory: who writes here, how far the relay has come, and what was refused.

Whoever writes to the directory holds a lock on this file, so a directory whose lock can be had belonged to a process
that is dead. One page, mapped by the writer and by the relay; each number is a native 64-bit word of its own, so that
a killed process leaves either the old value or the new one.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.errors import BlankStateError, OutboxError
from dispatcher.outbox.journal import journal_path
from dispatcher.outbox.listing import STATE, journal_indexes, size_bytes
from dispatcher.outbox.permissions import pass_on_group
from dispatcher.process.system_calls import allocate, sync_pages

_MAGIC: Final = b"DSPTCHR1"
_SIZE: Final = mmap.PAGESIZE
_WORD: Final = struct.Struct("@Q")
_JOURNAL_BYTES, _POSITION, _REFUSED, _PID, _SETTLED = 8, 16, 24, 32, 40
#: The byte of the page that is one of the three below. The relay sets it before it sleeps, and looks once more then;
#: whoever appends an event reads it afterwards. So an event and a sleep that cross are seen by one of them at least.
SLEEPING: Final = 48
AWAKE: Final = 0
#: The relay is a thread of the writer, and sleeps.
THREAD_SLEEPS: Final = 1
#: The relay is a process of its own, and sleeps.
PROCESS_SLEEPS: Final = 2

#: The byte that is 1 where events came with ids of their own, of which one may come again.
_IDS_REPEAT: Final = 49


class State:
    """The mapped state file. Numbers are read and written without a lock: each has one writer."""

    def __init__(self, fd: int, path: Path, *, writable: bool = True) -> None:
        self._fd = fd
        self._path = path
        # Opened once more: a map has a descriptor of its own, and one that a forked child cannot close yet, since the
        # parent's thread was syncing it, must not keep the parent's lock.
        with path.open("r+b" if writable else "rb", buffering=0) as file:
            self._map = mmap.mmap(file.fileno(), _SIZE, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)

    @classmethod
    def create(cls, directory: Path, *, journal_bytes: int) -> State:
        """Make the state file of a new outbox and lock it.

        Args:
            directory: The outbox, which has no state file yet.
            journal_bytes: The size of its journals.

        Raises:
            OSError: The file cannot be made. Nothing is left open.
        """
        path = directory / STATE
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            pass_on_group(fd, directory)
            allocate(fd, 0, _SIZE)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            state = cls(fd, path)
        except OSError:
            os.close(fd)
            raise
        state._write(_JOURNAL_BYTES, journal_bytes)
        state._write(_PID, os.getpid())
        state._map[: len(_MAGIC)] = _MAGIC
        return state

    @classmethod
    def open(cls, directory: Path, *, writable: bool = False) -> State:
        """The state file of a directory, without its lock.

        Args:
            directory: The outbox.
            writable: Whether numbers are to be written too, as a relay does. To read them, the right to read is enough.

        Raises:
            BlankStateError: It was never written, as after a power cut; ``recover`` makes it anew.
            OutboxError: The file has another format.
            OSError: It cannot be opened.
        """
        path = directory / STATE
        fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            _check(os.pread(fd, _SIZE, 0), path)
            return cls(fd, path, writable=writable)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def recover(cls, directory: Path) -> State:
        """Make a blank state file anew from the journals. Their events count as not put; the store knows better.

        Raises:
            OutboxError: Its writer lives, or no journal says how large journals are.
            OSError: It cannot be opened or written.
        """
        path = directory / STATE
        indexes, journal_bytes = journal_indexes(directory), journal_bytes_of(directory)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not journal_bytes:
                raise OutboxError(f"{path} is blank and has no journal beside it: delete {directory}")
            os.ftruncate(fd, _SIZE)
            state = cls(fd, path)
        except BlockingIOError:
            os.close(fd)
            raise OutboxError(f"{path} is blank although its process lives: end that process") from None
        except BaseException:
            os.close(fd)
            raise
        state._write(_POSITION, indexes[0] * journal_bytes)
        state._write(_SETTLED, indexes[0] * journal_bytes)
        state._write(_PID, pid_of(directory))
        state._write(_JOURNAL_BYTES, journal_bytes)
        state._map[: len(_MAGIC)] = _MAGIC
        state.unlock()
        return state

    def try_lock(self) -> bool:
        """Take the writer's lock. False while another process, or another object here, has it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @property
    def journal_bytes(self) -> int:
        """The size of each journal file, in bytes."""
        return self._read(_JOURNAL_BYTES)

    @property
    def pid(self) -> int:
        """The process that made the directory."""
        return self._read(_PID)

    @property
    def position(self) -> int:
        """Everything before it was put into the batch store."""
        return self._read(_POSITION)

    @position.setter
    def position(self, value: int) -> None:
        self._write(_POSITION, value)

    @property
    def settled(self) -> int:
        """Everything before it is settled at every destination, or was let go of: its files are not needed."""
        return self._read(_SETTLED)

    @settled.setter
    def settled(self, value: int) -> None:
        self._write(_SETTLED, value)

    @property
    def refused(self) -> int:
        """Events that found the outbox full."""
        return self._read(_REFUSED)

    @refused.setter
    def refused(self, value: int) -> None:
        self._write(_REFUSED, value)

    @property
    def page(self) -> mmap.mmap:
        """The page itself, for ``append``, which reads one byte of it each time."""
        return self._map

    @property
    def sleeping(self) -> int:
        """Whether the relay sleeps, and which one has to be woken: ``AWAKE``, ``THREAD_SLEEPS``, ``PROCESS_SLEEPS``."""
        return self._map[SLEEPING]

    @sleeping.setter
    def sleeping(self, value: int) -> None:
        self._map[SLEEPING] = value

    @property
    def ids_repeat(self) -> bool:
        """Whether an event may have the id of an earlier one, since clients gave it and send again what was taken."""
        return self._map[_IDS_REPEAT] == 1

    @ids_repeat.setter
    def ids_repeat(self, value: bool) -> None:
        self._map[_IDS_REPEAT] = value

    def sync(self) -> None:
        """Sync the page to disk. Blocks for as long as the disk takes. Raises OSError."""
        sync_pages(self._map, 0, _SIZE, self._path)

    def close(self) -> None:
        """Let go of the file and, where this object has it, of the lock. May be called twice."""
        if self._fd >= 0:
            with suppress(BufferError):
                self._map.close()
            os.close(self._fd)
            self._fd = -1

    def _read(self, at: int) -> int:
        value: int = _WORD.unpack_from(self._map, at)[0]
        return value

    def _write(self, at: int, value: int) -> None:
        _WORD.pack_into(self._map, at, value)


def has_writer(directory: Path) -> bool:
    """Whether the process that writes to an outbox lives. Three system calls; no lock is kept.

    Raises:
        OSError: The state file does not exist, or this user may not read it.
    """
    fd = os.open(directory / STATE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def journal_bytes_of(directory: Path) -> int:
    """The size of the journals of an outbox, by their files: those that a power cut left have it. 0 without any."""
    return max((size_bytes(journal_path(directory, index)) for index in journal_indexes(directory)), default=0) & -8


def pid_of(directory: Path | str) -> int:
    """The process that made an outbox, by the name that it gave it; 0 where that does not say."""
    pid = Path(directory).name.partition("-")[0]
    return int(pid) if pid.isdigit() else 0


def _check(page: bytes, path: Path) -> None:
    if not page.strip(b"\0"):
        raise BlankStateError(f"{path} is blank: a power cut came before it was on the disk")
    # A size that no writer chooses would send the reader to the wrong file.
    journal_bytes: int = _WORD.unpack_from(page, _JOURNAL_BYTES)[0] if len(page) == _SIZE else 0
    if page[: len(_MAGIC)] != _MAGIC or journal_bytes <= 0 or journal_bytes % 8:
        raise OutboxError(
            f"{path} is not the state file of an outbox: move the directory {path.parent} away, "
            "and read its journals with `dispatcher relay` once the file is mended"
        )
