"""The journal files of one outbox: a small thread makes the next one ahead, unmaps full ones, and syncs them all.

The thread does so in order that emit need not.
"""

from __future__ import annotations

import logging
import mmap
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from dispatcher.outbox.disk_usage import DiskUsage
from dispatcher.outbox.journal import NOTES_SUFFIX, SUFFIX, Journal, journal_path
from dispatcher.outbox.listing import names, size_bytes
from dispatcher.outbox.memory_map import prefault, sync_file
from dispatcher.outbox.state import State
from dispatcher.process.clock import monotonic
from dispatcher.process.inheritance import OwnThread
from dispatcher.process.system_calls import sync_pages

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

# Bytes of disk for a new file: a few events of the usual size, so that hundreds of quiet processes take little.
_FIRST_BYTES: Final = 2 * mmap.PAGESIZE
# The factor by which a file grows each time. Six steps, of some 20 µs each, allocate a file of the usual size whole.
_GROWTH: Final = 4
# A process that fills half a file within so many seconds has its next file made ahead, in full. Any other process makes
# its next file when it needs one.
_BUSY_SECONDS: Final = 60.0
# sys.getrefcount of an object that nobody else has: the variable and the call.
_ALONE: Final = 2


class JournalFiles:
    """Makes, grows and syncs the files of one outbox directory.

    ``take``, ``grow`` and ``limit`` are for one thread at a time; ``retire`` may be called from any. A forked child
    calls ``abandon`` and nothing else.

    Args:
        directory: The outbox.
        size: The bytes of one file.
        max_bytes: The most disk that all outboxes beside this one may take together.
        state: The outbox's state page, which says what has been relayed.
    """

    def __init__(self, directory: Path, *, size: int, max_bytes: int, state: State) -> None:
        self._directory = directory
        self._size = size
        self._max_bytes = max_bytes
        self._usage = DiskUsage(directory.parent)
        self._state = state
        self._synced = 0
        # The same of those who wait for the disk, one after another.
        self._synced_by_caller = 0
        self._sync_lock = threading.Lock()
        # The last file whose name is synced. With the first one the state page is, without which no file can be read.
        self._named = -1
        self._notes_synced: dict[str, int] = {}
        # The position up to which everything was written and put when everything was synced the last time.
        self._rest_at = -1
        self._spare_path = directory / f"spare{SUFFIX}"
        self._spare: queue.SimpleQueue[Journal] = queue.SimpleQueue()
        self._spare_wanted = False
        self._retired: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        # Not a threading.Event: a signal handler that raises could leave its lock taken, and the next emit would wait.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._current: tuple[int, Journal]
        self._taken_at = monotonic()
        # Whether the file before the current one was filled so fast that the next one is made ahead at once.
        self._is_busy = False
        self._closed = False
        self._pid = os.getpid()
        self._thread: OwnThread | None = None

    def take(self, index: int) -> Journal:
        """File ``index``: the spare one, or one made now, in some 100 µs.

        Raises:
            OSError: The disk or the limit is full.
        """
        path = journal_path(self._directory, index)
        try:
            taken = self._spare.get_nowait()
        except queue.Empty:
            # An attempt that a raising signal handler cut short may have left it; nothing was written to it.
            path.unlink(missing_ok=True)
            taken = self._create(path, min(_FIRST_BYTES, self._size))
        else:
            self._spare_path.rename(path)
            taken.path = path
        now = monotonic()
        self._current = (index, taken)
        self._is_busy = index > 0 and now - self._taken_at < _BUSY_SECONDS
        self._taken_at = now
        if self._is_busy:
            self._want_spare()
        return taken

    def grow(self, journal: Journal, end: int) -> int:
        """Allocate space in the current file for a frame that ends at ``end``.

        Returns:
            The offset up to which the file may be written before this has to be called again.

        Raises:
            OSError: The disk or the limit is full. Nothing has changed.
        """
        if end > journal.allocated:
            upto = min(self._size, max(end + mmap.PAGESIZE - 1 & -mmap.PAGESIZE, _GROWTH * journal.allocated))
            self._usage.add(upto - journal.allocated, self._max_bytes)
            journal.allocate(upto)
        if end > self._size // 2 and not self._is_busy and monotonic() - self._taken_at < _BUSY_SECONDS:
            self._want_spare()
        return self.limit(journal, end)

    def _want_spare(self) -> None:
        self._spare_wanted = True
        self._wakes.put(None)

    def limit(self, journal: Journal, end: int = 0) -> int:
        """How far a file may be written before ``grow`` is called.

        Args:
            journal: The file.
            end: Where the next frame will end.

        Returns:
            All that is allocated; at first half the file, so that ``grow`` sees how fast it fills.
        """
        half = self._size // 2
        return half if end <= half < journal.allocated and not self._is_busy else journal.allocated

    def retire(self, finished: mmap.mmap) -> None:
        """Hand a full file to the thread, which unmaps it. Does not block."""
        self._retired.put(finished)

    def keep(self, sync_seconds: float, written: Callable[[], int]) -> None:
        """Start the thread that keeps a spare file ready and syncs what is not relayed. Call it once; it never raises.

        Args:
            sync_seconds: Seconds between two syncs.
            written: Gives the position behind the last event; called from the thread.
        """
        thread = OwnThread(partial(self._run, sync_seconds, written), name="dispatcher-journal")
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            logger.warning("emit makes journal files itself, and nothing syncs them to disk: %s", error)
        else:
            self._thread = thread

    def close(self) -> None:
        """Stop the thread and remove the spare file, which holds no event. May be called twice.

        Blocks until the thread has ended, for five seconds at most.
        """
        self._closed = True
        self._wakes.put(None)
        if self._thread is not None:
            self._thread.join(timeout=5)
        if os.getpid() != self._pid:
            return  # the copy of a greenlet, in a child that was forked meanwhile
        while not self._spare.empty():
            self._spare.get_nowait().map.close()
        while not self._retired.empty():
            self._retired.get_nowait()
        self._spare_path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """In a forked child: release the inherited maps, and leave the files to the parent. Does not block."""
        self._closed = True
        while not self._spare.empty():
            # One that the parent's thread was looking into at the moment of the fork cannot be closed.
            with suppress(BufferError):
                self._spare.get_nowait().map.close()
        while not self._retired.empty():
            self._retired.get_nowait()

    def _run(self, sync_seconds: float, written: Callable[[], int]) -> None:
        synced_at = monotonic()
        while not self._closed and os.getpid() == self._pid:
            self._tidy()
            if monotonic() - synced_at >= sync_seconds:
                self._sync(written())
                synced_at = monotonic()
            with suppress(queue.Empty):
                self._wakes.get(timeout=sync_seconds)

    def _tidy(self) -> None:
        self._prepare()
        while not self._retired.empty():
            retired = self._retired.get_nowait()
            # A finalizer may have filled it in the middle of an append to it: then it goes when that append ends.
            if sys.getrefcount(retired) <= _ALONE:
                retired.close()

    def _prepare(self) -> None:
        if not self._spare_wanted or not self._spare.empty():
            return
        self._spare_wanted = False
        try:
            # With room for one more file, since take may need one while this one is not ready yet.
            spare = self._create(self._spare_path, self._size, leave=self._size)
        except OSError as error:
            # emit meets the same error when it needs the file, and reports it.
            logger.debug("no spare journal in %s: %s", self._directory, error)
            return
        _off_the_loop(prefault, spare.map)
        self._spare.put(spare)

    def _create(self, path: Path, allocated: int, *, leave: int = 0) -> Journal:
        self._usage.add(allocated, self._max_bytes - leave)
        return Journal.create(path, self._size, allocated=allocated)

    def _sync(self, written: int) -> None:
        """Sync the events up to position ``written`` that are neither synced nor relayed."""
        try:
            put = self._state.position
            if put == written == self._rest_at:
                return  # at rest: two numbers in memory, and no system call
            position = max(self._synced, put)
            while position < written and not self._closed:
                index, start = divmod(position, self._size)
                end = min(self._size, start + written - position)
                with suppress(FileNotFoundError):  # relayed in the meantime
                    _off_the_loop(partial(self._sync_frames, index, start), end)
                    self._sync_names(index)
                position = self._synced = position + end - start
                # There may be hundreds of files behind, while emit goes on to the next one every few milliseconds.
                self._tidy()
            self._sync_notes()
            self._rest_at = put
        except (OSError, ValueError) as error:
            # The state is closed under it where a slow disk has held it for longer than close waits.
            if not self._closed:
                logger.warning("%s could not be synced to disk: %s", self._directory, error)

    def sync(self, written: int) -> None:
        """Sync all events up to position ``written`` that no call of this has synced yet. Blocks for the disk.

        Unlike the thread's own sync it leaves nothing to the batch store, whose disk may be behind.

        Raises:
            OSError: The disk did not take them.
        """
        with self._sync_lock:
            position = self._synced_by_caller
            while position < written:
                index, start = divmod(position, self._size)
                end = min(self._size, start + written - position)
                with suppress(FileNotFoundError):  # settled in the meantime
                    self._sync_frames(index, start, end)
                    self._sync_names(index)
                position = self._synced_by_caller = position + end - start

    def _sync_frames(self, index: int, start: int, end: int) -> None:
        # Of the file that is being written, sync only the pages that were written.
        current_index, current = self._current
        if index == current_index:
            sync_pages(current.map, start, end, current.path)
        else:
            sync_file(journal_path(self._directory, index))

    def _sync_names(self, index: int) -> None:
        """Sync the names of the files, and once the state page: after a power cut a reader finds the frames by them."""
        if index <= self._named:
            return
        if self._named < 0:
            _off_the_loop(lambda _: self._state.sync(), None)
            _off_the_loop(sync_file, self._directory.parent)
        _off_the_loop(sync_file, self._directory)
        self._named = index

    def _sync_notes(self) -> None:
        """Sync what relays have recorded since: after a power cut it says how the events that were put were batched."""
        before, self._notes_synced = self._notes_synced, {}
        for name in names(self._directory):
            if name.endswith(NOTES_SUFFIX):
                path = self._directory / name
                self._notes_synced[name] = size_bytes(path)
                if self._notes_synced[name] != before.get(name):
                    with suppress(FileNotFoundError):
                        _off_the_loop(sync_file, path)


def _off_the_loop(call: Callable[[_T], None], argument: _T) -> None:
    # Where gevent has replaced threads, this one is a greenlet, and a blocking call would hold up all the others.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        # An interpreter that is ending starts no thread any more (RuntimeError), and has nobody left to be held up.
        with suppress(RuntimeError):
            error = sys.modules["gevent"].get_hub().threadpool.apply(_error_of, (call, argument))
            if error is not None:
                raise error
            return
    call(argument)


def _error_of(call: Callable[[_T], None], argument: _T) -> OSError | None:
    # As a value, since gevent prints a traceback for each error that leaves its thread pool.
    try:
        call(argument)
    except OSError as error:
        return error
    return None
