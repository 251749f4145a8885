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
from pathlib import Path
from typing import Final

from dispatcher.errors import OutboxError

NAME: Final = "state"
_MAGIC: Final = b"DSPTCHR1"
_SIZE: Final = mmap.PAGESIZE
_WORD: Final = struct.Struct("@Q")
_JOURNAL_BYTES, _POSITION, _REFUSED, _PID, _SETTLED = 8, 16, 24, 32, 40


class State:
    """The mapped state file. Numbers are read and written without a lock: each has one writer."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path
        self._map = mmap.mmap(fd, _SIZE)

    @classmethod
    def create(cls, directory: Path, *, journal_bytes: int) -> State:
        """A new state file, locked by this process. Raises OSError."""
        path = directory / NAME
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, _SIZE)
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
    def open(cls, directory: Path) -> State:
        """The state file of a directory, without its lock.

        Raises:
            OutboxError: It is no state file.
            OSError: It cannot be opened.
        """
        path = directory / NAME
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        if not _is_state(os.pread(fd, _SIZE, 0)):
            os.close(fd)
            raise OutboxError(
                f"{path} is not the state file of an outbox: move the directory {directory} away, "
                "and read its journals with `dispatcher relay` once the file is mended"
            )
        return cls(fd, path)

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

    def close(self) -> None:
        """Let go of the file and, where this object has it, of the lock. May be called twice."""
        if self._fd >= 0:
            self._map.close()
            os.close(self._fd)
            self._fd = -1

    def _read(self, at: int) -> int:
        value: int = _WORD.unpack_from(self._map, at)[0]
        return value

    def _write(self, at: int, value: int) -> None:
        _WORD.pack_into(self._map, at, value)


def _is_state(page: bytes) -> bool:
    if len(page) < _SIZE or page[: len(_MAGIC)] != _MAGIC:
        return False
    # A size that no writer chooses would send the reader to the wrong file.
    journal_bytes: int = _WORD.unpack_from(page, _JOURNAL_BYTES)[0]
    return journal_bytes > 0 and journal_bytes % 8 == 0
