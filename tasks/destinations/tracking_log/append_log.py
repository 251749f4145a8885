"""AppendLog: the record of what was appended to the tracking log, and the lock that each append takes.

It is a ring of entries of fixed size in a file beside the log; the lock of this file is the log's lock. An entry is
written before its append and again after it, so that the next process can see an append that was interrupted, and how
far a batch got that comes again.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Sequence, key, inode, offset, length, first event, events, done, gaps; then a CRC-32 of these.
_ENTRY: Final = struct.Struct("<Q16sQQQII??2x")
_CRC: Final = struct.Struct("<I")
_ENTRY_BYTES: Final = _ENTRY.size + _CRC.size

# Entries of the ring: more batches than are under way at any time, in 4 MiB.
SLOTS: Final = 65_536

# Batches that are known without reading the ring: a Redis that came back without its last second may call them new.
_RECENT: Final = 16_384

# Entries that are read at once to find what others have appended.
_BLOCK: Final = 16

# The pause between two attempts to take the lock, which an append holds for some tens of microseconds.
_FIRST_PAUSE_SECONDS: Final = 50e-6
_MAX_PAUSE_SECONDS: Final = 2e-3


class Append(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One append to the log.

    Args:
        sequence: Counts the appends, from 1.
        key: The batch's key, 16 bytes.
        inode: The inode of the file that it went to.
        offset: Where it began in that file, in bytes.
        length: How many bytes it has.
        first: The index of its first event in the batch; the events before that came with earlier appends.
        events: How many events it has.
        gaps: Whether some of these have no line; otherwise each has one.
        done: Whether the append is in the file as described here; until then it is what was to be written.
    """

    sequence: int
    key: bytes
    inode: int
    offset: int
    length: int
    first: int
    events: int
    gaps: bool = False
    done: bool = False


class AppendLog:
    """The record. For one thread at a time; after a fork, ``close`` it before use.

    Args:
        path: The ring's file, which is made if it does not exist.
        slots: How many appends it remembers.
    """

    def __init__(self, path: Path, *, slots: int = SLOTS) -> None:
        self._path = path
        self._slots = slots
        self._fd = -1
        self._inode = 0
        self._last: Append | None = None
        # How many events of each batch were appended, by its key; the oldest first.
        self._recent: dict[bytes, int] = {}

    @property
    def last(self) -> Append | None:
        """The latest append of any process. Up to date only while the lock is held."""
        return self._last

    @contextmanager
    def lock(self, timeout_seconds: float) -> Iterator[None]:
        """Hold the log's lock. Raises TimeoutError if another process holds it for so long."""
        self._acquire(timeout_seconds)
        try:
            self._catch_up()
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def begin(
        self, *, key: bytes, inode: int, offset: int, length: int, first: int, events: int, gaps: bool = False
    ) -> Append:
        """Record what is about to be appended. Raises OSError if that cannot be written."""
        sequence = 1 if self._last is None else self._last.sequence + 1
        append = Append(
            sequence=sequence,
            key=key,
            inode=inode,
            offset=offset,
            length=length,
            first=first,
            events=events,
            gaps=gaps,
        )
        self._write(append)
        return append

    def finish(self, append: Append) -> None:
        """Record what became of the latest append. Raises OSError; the next process then finds it as it was begun."""
        self._write(append)

    def find(self, key: bytes) -> Append | None:
        """The latest append of a batch; None if it is not remembered. Reads the whole ring in about a millisecond."""
        ring = os.pread(self._fd, self._slots * _ENTRY_BYTES, 0)
        found: Append | None = None
        position = ring.find(key)
        while position >= 0:
            start = position - position % _ENTRY_BYTES
            append = _unpack(ring[start : start + _ENTRY_BYTES])
            if append is not None and append.key == key and (found is None or append.sequence > found.sequence):
                found = append
            position = ring.find(key, position + 1)
        return found

    def written(self, key: bytes, *, thoroughly: bool) -> int:
        """How many of a batch's first events have their lines in the log. Up to date only while the lock is held.

        Args:
            key: The batch's key.
            thoroughly: Whether to read the ring for a batch that is not among the recent ones.
        """
        events = self._recent.get(key)
        if events is None and thoroughly and (found := self.find(key)) is not None:
            events = found.first + found.events
        return events or 0

    def close(self) -> None:
        """Close the file. May be called twice; ``lock`` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._last = None
        self._recent.clear()

    def _acquire(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            if self._fd < 0:
                self._open()
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(
                        errno.ETIMEDOUT,
                        f"another process has held this lock for {timeout_seconds:g} s; see what it does with `fuser`",
                        str(self._path),
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
            else:
                if self._is_current():
                    return
                # Somebody has removed the file: a process that opens it by name now would not see this lock.
                self.close()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._inode = os.fstat(self._fd).st_ino

    def _is_current(self) -> bool:
        try:
            return os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            return False

    def _catch_up(self) -> None:
        """Read what others have appended since."""
        while True:
            if self._last is None:
                self._read_all()
                return
            known = self._last.sequence
            block = os.pread(self._fd, _BLOCK * _ENTRY_BYTES, self._place(known + 1))
            for start in range(0, len(block), _ENTRY_BYTES):
                append = _unpack(block[start : start + _ENTRY_BYTES])
                if append is None or append.sequence < self._last.sequence:
                    return
                if append.sequence != self._last.sequence + 1:
                    # Meanwhile the others have filled the whole ring.
                    self._last = None
                    break
                self._last = append
                self._remember(append)
            if self._last is not None and self._last.sequence == known:
                return

    def _read_all(self) -> None:
        ring = os.pread(self._fd, self._slots * _ENTRY_BYTES, 0)
        entries = (_unpack(ring[start : start + _ENTRY_BYTES]) for start in range(0, len(ring), _ENTRY_BYTES))
        known = sorted((entry for entry in entries if entry is not None), key=lambda entry: entry.sequence)
        self._recent.clear()
        for append in known[-_RECENT:]:
            self._remember(append)
        self._last = known[-1] if known else None

    def _remember(self, append: Append) -> None:
        # Removed first, so that it becomes the youngest.
        self._recent.pop(append.key, None)
        self._recent[append.key] = append.first + append.events
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]

    def _write(self, append: Append) -> None:
        entry, place = _pack(append), self._place(append.sequence)
        written = os.pwrite(self._fd, entry, place)
        if written < len(entry):
            # The entry crosses a limit; the second write raises the error that names it.
            os.pwrite(self._fd, entry[written:], place + written)
        self._last = append
        self._remember(append)

    def _place(self, sequence: int) -> int:
        return sequence % self._slots * _ENTRY_BYTES


def _pack(append: Append) -> bytes:
    body = _ENTRY.pack(
        append.sequence,
        append.key,
        append.inode,
        append.offset,
        append.length,
        append.first,
        append.events,
        append.done,
        append.gaps,
    )
    return body + _CRC.pack(zlib.crc32(body))


def _unpack(entry: bytes) -> Append | None:
    """The append of an entry; None if the entry is empty, cut off or damaged."""
    body, crc = entry[: _ENTRY.size], entry[_ENTRY.size :]
    if len(crc) < _CRC.size or zlib.crc32(body) != _CRC.unpack(crc)[0]:
        return None
    sequence, key, inode, offset, length, first, events, done, gaps = _ENTRY.unpack(body)
    return Append(
        sequence=sequence,
        key=key,
        inode=inode,
        offset=offset,
        length=length,
        first=first,
        events=events,
        gaps=gaps,
        done=done,
    )
