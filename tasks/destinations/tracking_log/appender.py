"""Appender: appends whole lines to a file that other threads and processes append to, and that logrotate renames."""

from __future__ import annotations

import errno
import logging
import math
import os
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from dispatcher.process.system_calls import sync
from dispatcher.tasks.destinations.tracking_log.append_log import Append, AppendLog
from dispatcher.tasks.destinations.tracking_log.rotation import compress_rotated, open_sibling, rotated_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

# How long to wait for a lock whose holder makes no progress: it is stopped, or its disk does not answer.
_LOCK_SECONDS: Final = 30.0
# How long ``close`` waits for a compression that is under way.
_CLOSE_SECONDS: Final = 5.0
# How much is read at a time to find the beginning of the last line.
_TAIL_BYTES: Final = 1 << 16

_REMEDIES: Final = {
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
    """Appends to one file. Safe in threads; after a fork the child opens files of its own.

    Whenever a process is killed, the file has only whole lines as soon as anybody has appended again, and a batch that
    is appended again with ``again`` is in it once.

    Args:
        path: The file.
        fsync: Whether an append is on the disk when it returns.
        rotate_bytes: The size that the file does not exceed, unless one append alone is larger. None for no rotation.
        rotate_compress: Whether rotated files are compressed, in a thread.
        lock_seconds: How long to wait for other threads and processes.
        clock: Returns the seconds since 1970, for the names of rotated files.
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
        self._append_log = AppendLog(path.with_name(f".{path.name}.appends"))
        self._threads = threading.Lock()
        self._compression: threading.Thread | None = None
        self._fd = -1
        self._file = (0, 0)
        # By a weak reference: what is registered stays so until the process ends.
        os.register_at_fork(after_in_child=partial(_reset_after_fork, weakref.ref(self)))

    def append(
        self,
        lines: Sequence[bytes | None],
        *,
        key: bytes,
        first: int = 0,
        again: bool = False,
        alone_until: float = math.inf,
    ) -> None:
        """Append a batch's lines, all of them or none. Blocks while others append, up to twice ``lock_seconds``.

        Args:
            lines: The lines without their line breaks; None for an event that has no line.
            key: The batch's key, 16 bytes.
            first: The index of the first of these events in the batch, if the batch comes in parts.
            again: Whether the batch may have been appended before: then only the lines that are missing are appended.
                65,536 batches are remembered.
            alone_until: From this time on, on ``time.monotonic``'s clock, others may have appended the batch too, for
                example because this process was stopped for longer than its lease.

        Raises:
            OSError: None of the lines is in the file, unless it was there before.
        """
        try:
            with self._lock():
                # The clock is read with the lock held, because nobody else can append the batch after that.
                again = again or time.monotonic() >= alone_until
                rotated = self._append(lines, key=key, first=first, again=again)
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "find out what is wrong with it")
            raise OSError(
                error.errno,
                f"cannot append to the tracking log: {error.strerror or error}; {remedy}: the batch is tried again",
                str(error.filename or self._path),
            ) from error
        if rotated and self._rotate_compress:
            self._compress()

    def set_aside(self) -> Path | None:
        """Give the log, as it is now, the name of a rotated file, so that nobody appends to it any more.

        What a killed process has left is repaired first. Blocks while others append.

        Returns:
            The rotated file; None where the log is empty.

        Raises:
            OSError: The lock cannot be had, or the file cannot be renamed.
        """
        with self._lock():
            if self._repair(self._open()) == 0:
                return None
            rotated = rotated_path(self._path, self._clock())
            self._path.rename(rotated)
            self._sync_directory()
            return rotated

    def close(self) -> None:
        """Close the files, and wait some seconds for a compression that is under way. May be called twice."""
        with self._threads:
            self._close_files()
        if self._compression is not None:
            self._compression.join(_CLOSE_SECONDS)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        if not self._threads.acquire(timeout=self._lock_seconds):
            raise TimeoutError(errno.ETIMEDOUT, f"another thread has been appending for {self._lock_seconds:g} s")
        try:
            with self._append_log.lock(self._lock_seconds):
                yield
        finally:
            self._threads.release()

    def _append(self, events: Sequence[bytes | None], *, key: bytes, first: int, again: bool) -> bool:
        size = self._repair(self._open())
        # Checked for a new batch too: a Redis that came back without its last second may call a delivered batch new.
        begin = max(first, self._append_log.written(key, thoroughly=again))
        events = events[begin - first :]
        lines = [line for line in events if line is not None]
        if not lines:
            return False
        text = b"\n".join([*lines, b""])
        rotated = self._rotate_bytes is not None and size > 0 and size + len(text) > self._rotate_bytes
        if rotated:
            self._path.rename(rotated_path(self._path, self._clock()))
            size = self._open()
        append = self._append_log.begin(
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
                sync(self._fd, contents_only=True)
        except BaseException:
            # For an interrupt too, because the caller takes the batch for undelivered.
            with suppress(OSError):
                os.ftruncate(self._fd, append.offset)
                self._append_log.finish(replace(append, length=0, events=0, done=True))
            raise
        # The lines are written even if this cannot be recorded: the next append sees it by the file's size.
        with suppress(OSError):
            self._append_log.finish(replace(append, done=True))

    def _open(self) -> int:
        """Open the file that is at the path now, if it is not open. Returns its size in bytes."""
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
        # Otherwise a new or renamed file may lose its name in a power cut.
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            sync(directory)
        finally:
            os.close(directory)

    def _repair(self, size: int) -> int:
        """Repair what a killed process left behind. Returns the file's size after that."""
        last = self._append_log.last
        if last is not None and not last.done:
            self._finish_interrupted(last)
            size = os.fstat(self._fd).st_size
            last = self._append_log.last
        if size == 0 or (last is not None and (last.inode, last.offset + last.length) == (self._file[1], size)):
            return size
        return size if os.pread(self._fd, 1, size - 1) == b"\n" else self._repair_tail(size)

    def _finish_interrupted(self, last: Append) -> None:
        """Keep the whole lines of an append whose process was killed, and record how many they are."""
        with self._open_inode(last.inode) as fd:
            if fd is None:
                # The file was removed or compressed since. Writing the batch again may repeat lines; not writing it
                # would lose some.
                self._append_log.finish(replace(last, length=0, events=0, done=True))
                return
            size = os.fstat(fd).st_size
            if size >= last.offset + last.length:
                self._append_log.finish(replace(last, done=True))
                return
            written = os.pread(fd, max(0, size - last.offset), last.offset)
            # With gaps nobody can tell which line is which event's, so that no line is kept.
            whole = 0 if last.gaps else written.rfind(b"\n") + 1
            if whole < len(written):
                os.ftruncate(fd, last.offset + whole)
            events = written[:whole].count(b"\n")
            self._append_log.finish(replace(last, length=whole, events=events, done=True))

    @contextmanager
    def _open_inode(self, inode: int) -> Iterator[int | None]:
        """A descriptor of the log or of the rotated file with this inode; None if no such file is left."""
        if inode == self._file[1]:
            yield self._fd
            return
        fd = open_sibling(self._path, inode)
        try:
            yield fd
        finally:
            if fd is not None:
                os.close(fd)

    def _repair_tail(self, size: int) -> int:
        """Repair a last line without a line break that the record does not know: end it if it is whole, else cut it."""
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
        logger.warning("%s ended in an unfinished line of %d bytes, which is cut off", self._path, len(tail))
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
        self._append_log.close()

    def reset(self) -> None:
        """Close the files in a forked child. The lock belongs to the open file, which parent and child share."""
        self._threads = threading.Lock()
        self._compression = None
        self._close_files()


def _reset_after_fork(reference: weakref.ref[Appender]) -> None:
    appender = reference()
    if appender is not None:
        appender.reset()


def _is_whole(line: bytes) -> bool:
    try:
        msgspec.json.decode(line[max(0, line.find(b"{")) :], type=dict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True
