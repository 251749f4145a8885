"""Appender: whole lines at the end of a file that other threads and processes append to, and logrotate renames."""

from __future__ import annotations

import errno
import logging
import math
import os
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from dispatcher.tasks.destinations.tracking_log.append_log import Append, Appends
from dispatcher.tasks.destinations.tracking_log.rotation import compress_rotated, rotated_path, siblings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

# For a holder of the lock that does not move: stopped, or waiting for a disk that does not answer.
_LOCK_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0
_TAIL_BYTES: Final = 1 << 16

_WAYS_OUT: Final = {
    errno.ENOSPC: "make room on its disk",
    errno.EDQUOT: "raise the quota of its owner",
    errno.EFBIG: "rotate it, or raise the limit on a file's size",
    errno.EACCES: "let the worker's user write there",
    errno.EPERM: "let the worker's user write there",
    errno.EROFS: "mount its disk for writing, or set another path",
    errno.ENOTDIR: "set a path whose parents are directories",
    errno.EISDIR: "set a path that is not a directory",
}


class Appender:
    """Appends to one file. Safe for threads; after a fork the child opens its own.

    Whatever process is killed whenever, the file holds whole lines only as soon as anybody has appended again, and a
    batch that is appended again as ``again`` is in it once.

    Args:
        path: The file.
        fsync: Whether an append is on the disk when it returns.
        rotate_bytes: The size that the file does not outgrow, unless one append alone is larger. None: no rotation.
        rotate_compress: Whether rotated files are compressed, in a thread.
        lock_seconds: How long to wait for others.
        clock: Seconds since the epoch, for the names of rotated files.
    """

    def __init__(
        self,
        path: Path,
        *,
        fsync: bool = False,
        rotate_bytes: int | None = None,
        rotate_compress: bool = False,
        lock_seconds: float = _LOCK_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._fsync = fsync
        self._rotate_bytes = rotate_bytes
        self._rotate_compress = rotate_compress
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._appends = Appends(path.with_name(f".{path.name}.appends"))
        self._threads = threading.Lock()
        self._compression: threading.Thread | None = None
        self._fd = -1
        self._file = (0, 0)
        forget = weakref.WeakMethod(self._after_fork)
        os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    def append(
        self,
        lines: Sequence[bytes | None],
        *,
        key: bytes,
        first: int = 0,
        again: bool = False,
        alone_until: float = math.inf,
    ) -> None:
        """Append a batch's lines, all of them or none.

        Args:
            lines: Without their line breaks; None for an event that has no line.
            key: The batch's own, 16 bytes.
            first: The index in the batch of the first of them, where its events come in parts.
            again: Whether it may have been appended before: then only the lines that are missing are. Appends are
                remembered for 65,536 batches.
            alone_until: From then on, on ``time.monotonic``'s clock, others may have appended it too, as when this
                process was stopped for longer than its lease.

        Raises:
            OSError: None of the lines is in the file, unless it was so before.
        """
        try:
            with self._turn():
                # Looked at with the lock held: nobody else can append it after this.
                again = again or time.monotonic() >= alone_until
                rotated = self._append(lines, key=key, first=first, again=again)
        except OSError as error:
            way_out = _WAYS_OUT.get(error.errno or 0, "see what is the matter with it")
            raise OSError(
                error.errno,
                f"cannot append to the tracking log: {error.strerror or error}; {way_out}: the batch is tried again",
                str(error.filename or self._path),
            ) from error
        if rotated and self._rotate_compress:
            self._compress()

    def close(self) -> None:
        """Let go of the files; a compression that is under way is waited for a few seconds. May be called twice."""
        with self._threads:
            self._close_files()
        if self._compression is not None:
            self._compression.join(_CLOSE_SECONDS)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._threads.acquire(timeout=self._lock_seconds):
            raise TimeoutError(errno.ETIMEDOUT, f"another thread has been appending for {self._lock_seconds:g} s")
        try:
            with self._appends.turn(self._lock_seconds):
                yield
        finally:
            self._threads.release()

    def _append(self, events: Sequence[bytes | None], *, key: bytes, first: int, again: bool) -> bool:
        size = self._mend(self._open())
        # Looked for in any case: a Redis that came back without its last second has as new what was delivered in it.
        begin = max(first, self._appends.written(key, thoroughly=again))
        events = events[begin - first :]
        lines = [line for line in events if line is not None]
        if not lines:
            return False
        text = b"\n".join([*lines, b""])
        rotated = self._rotate_bytes is not None and size > 0 and size + len(text) > self._rotate_bytes
        if rotated:
            self._path.rename(rotated_path(self._path, self._clock()))
            size = self._open()
        append = self._appends.begin(
            key=key,
            inode=self._file[1],
            offset=size,
            length=len(text),
            first=begin,
            events=len(events),
            gaps=len(lines) < len(events),
        )
        self._write(text, append)
        return rotated

    def _write(self, text: bytes, append: Append) -> None:
        try:
            rest = memoryview(text)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
            if self._fsync:
                os.fdatasync(self._fd)
        except BaseException:
            # Also for an interrupt: the caller will take the batch for not delivered.
            with suppress(OSError):
                os.ftruncate(self._fd, append.offset)
                self._appends.settle(replace(append, length=0, events=0, done=True))
            raise
        # The lines are written, whether or not that can be noted: the next turn sees it by the file's size.
        with suppress(OSError):
            self._appends.settle(replace(append, done=True))

    def _open(self) -> int:
        """The size of the file that is at the path now."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            status = None
        if status is None or self._fd < 0 or (status.st_dev, status.st_ino) != self._file:
            self._close_log()
            self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            status = os.fstat(self._fd)
            self._file = (status.st_dev, status.st_ino)
            if self._fsync:
                self._sync_directory()
        return status.st_size

    def _sync_directory(self) -> None:
        # Otherwise a power cut may leave a new or renamed file without its name.
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _mend(self, size: int) -> int:
        """Finish what a killed process left; the size after that."""
        last = self._appends.last
        if last is not None and not last.done:
            self._settle_cut_short(last)
            size = os.fstat(self._fd).st_size
            last = self._appends.last
        if size == 0 or (last is not None and (last.inode, last.offset + last.length) == (self._file[1], size)):
            return size
        return size if os.pread(self._fd, 1, size - 1) == b"\n" else self._mend_tail(size)

    def _settle_cut_short(self, last: Append) -> None:
        """Keep the whole lines of an append whose process was killed, and note how many they are."""
        with self._holding(last.inode) as fd:
            if fd is None:
                # Removed or compressed since. To write the batch again may double lines; not to would lose some.
                self._appends.settle(replace(last, length=0, events=0, done=True))
                return
            size = os.fstat(fd).st_size
            if size >= last.offset + last.length:
                self._appends.settle(replace(last, done=True))
                return
            written = os.pread(fd, max(0, size - last.offset), last.offset)
            # With gaps, which event a line is of cannot be told any more, so that none of them is kept.
            whole = 0 if last.gaps else written.rfind(b"\n") + 1
            if whole < len(written):
                os.ftruncate(fd, last.offset + whole)
            events = written[:whole].count(b"\n")
            self._appends.settle(replace(last, length=whole, events=events, done=True))

    @contextmanager
    def _holding(self, inode: int) -> Iterator[int | None]:
        """A descriptor of the log or of the rotated file that has this inode."""
        if inode == self._file[1]:
            yield self._fd
            return
        for path in siblings(self._path):
            if path.stat().st_ino == inode:
                fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    yield fd
                finally:
                    os.close(fd)
                return
        yield None

    def _mend_tail(self, size: int) -> int:
        """Mend a last line without a line break, of which the record knows nothing: end it if it is whole, else cut."""
        tail = b""
        start = size
        while start > 0 and b"\n" not in tail:
            step = min(start, _TAIL_BYTES)
            start -= step
            tail = os.pread(self._fd, step, start) + tail
        tail = tail[tail.rfind(b"\n") + 1 :]
        if _is_whole(tail):
            os.write(self._fd, b"\n")
            return size + 1
        _log.warning("%s ended in an unfinished line of %d bytes, which is cut off", self._path, len(tail))
        os.ftruncate(self._fd, size - len(tail))
        return size - len(tail)

    def _compress(self) -> None:
        if self._compression is None or not self._compression.is_alive():
            self._compression = threading.Thread(
                target=compress_rotated, args=(self._path,), name="tracking-log-compression", daemon=True
            )
            self._compression.start()

    def _close_log(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _close_files(self) -> None:
        self._close_log()
        self._appends.close()

    def _after_fork(self) -> None:
        # The lock belongs to the open file that parent and child share: the child needs files of its own.
        self._threads = threading.Lock()
        self._compression = None
        self._close_files()


def _is_whole(line: bytes) -> bool:
    try:
        msgspec.json.decode(line[max(0, line.find(b"{")) :], type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
