"""The journal files of one outbox: the next one is made ahead, what is done with is unmapped, and all of it is synced.

That is the work of one small thread, so that emit has none of it.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os
import queue
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from dispatcher.outbox.journal import NOTES_SUFFIX, SUFFIX, Journal, journal_path
from dispatcher.outbox.listing import journals_bytes, names, size_bytes
from dispatcher.outbox.memory_map import prefault, sync_file, sync_pages
from dispatcher.outbox.state import State
from dispatcher.process.inheritance import OwnThread

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

# What a new file takes of the disk: a few events of the usual size, so that hundreds of quiet processes take little.
_FIRST_BYTES: Final = 2 * mmap.PAGESIZE
# By how much it grows each time. It is full-grown after six such steps, of some 20 µs each.
_GROWTH: Final = 4
# A process that fills half a file within so many seconds gets its next file made ahead, in full; any other makes it
# when it needs it.
_BUSY_SECONDS: Final = 60.0
# What sys.getrefcount says of what nobody else has: the variable and the call.
_ALONE: Final = 2


class JournalFiles:
    """Makes, grows and syncs the files of one outbox directory. ``take`` and ``grow``: by one thread at a time."""

    def __init__(self, directory: Path, *, size: int, max_bytes: int, state: State) -> None:
        self._directory = directory
        self._size = size
        self._max_bytes = max_bytes
        self._state = state
        self._synced = 0
        # The last file whose name is on the disk, and with the first one the state page without which none is read.
        self._named = -1
        self._notes_synced: dict[str, int] = {}
        self._spare_path = directory / f"spare{SUFFIX}"
        self._spare: queue.SimpleQueue[Journal] = queue.SimpleQueue()
        self._spare_wanted = False
        self._retired: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        # No threading.Event: what a signal handler that raises leaves of its lock, the next emit would wait for.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._current: tuple[int, Journal]
        self._taken_at = time.monotonic()
        # Whether the file before the current one was filled so fast that the next one is made ahead at once.
        self._is_busy = False
        self._closed = False
        self._pid = os.getpid()
        self._thread: OwnThread | None = None

    def take(self, index: int) -> Journal:
        """File ``index``: the spare one, or one made now. Raises OSError when there is no room."""
        path = journal_path(self._directory, index)
        try:
            taken = self._spare.get_nowait()
        except queue.Empty:
            # Left by a try that was cut short by a signal handler that raised; nothing was written to it.
            path.unlink(missing_ok=True)
            taken = self._create(path, min(_FIRST_BYTES, self._size))
        else:
            self._spare_path.rename(path)
            taken.path = path
        now = time.monotonic()
        self._current = (index, taken)
        self._is_busy = index > 0 and now - self._taken_at < _BUSY_SECONDS
        self._taken_at = now
        if self._is_busy:
            self._want_spare()
        return taken

    def grow(self, journal: Journal, end: int) -> int:
        """Have the current file take what reaches to ``end``. Returns up to where it does, until it is asked again.

        Raises:
            OSError: There is no room. Nothing has changed.
        """
        if end > journal.allocated:
            upto = min(self._size, max(end + mmap.PAGESIZE - 1 & -mmap.PAGESIZE, _GROWTH * journal.allocated))
            self._check_room(upto - journal.allocated)
            journal.allocate(upto)
        if end > self._size // 2 and not self._is_busy and time.monotonic() - self._taken_at < _BUSY_SECONDS:
            self._want_spare()
        return self.limit(journal, end)

    def _want_spare(self) -> None:
        self._spare_wanted = True
        self._wakes.put(None)

    def limit(self, journal: Journal, end: int = 0) -> int:
        """Up to where a file is written before ``grow`` is asked: what is allocated, or half of it at first."""
        half = self._size // 2
        return half if end <= half < journal.allocated and not self._is_busy else journal.allocated

    def retire(self, finished: mmap.mmap) -> None:
        """Have a full file unmapped, with the thread's next turn. Does not block."""
        self._retired.put(finished)

    def keep(self, sync_seconds: float, written: Callable[[], int]) -> None:
        """Start the thread that keeps a spare file ready and syncs what is not relayed.

        Args:
            sync_seconds: How often it syncs.
            written: Says up to which position there are events.
        """
        thread = OwnThread(partial(self._run, sync_seconds, written), name="dispatcher-journal")
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            logger.warning("emit makes journal files itself, and nothing syncs them to disk: %s", error)
        else:
            self._thread = thread

    def close(self) -> None:
        """Stop the thread and remove the spare file, which nothing was written to."""
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
        """In a forked child: let go of the maps, and leave the files alone."""
        self._closed = True
        while not self._spare.empty():
            # One that the parent's thread was looking into at the moment of the fork cannot be closed.
            with suppress(BufferError):
                self._spare.get_nowait().map.close()
        while not self._retired.empty():
            self._retired.get_nowait()

    def _run(self, sync_seconds: float, written: Callable[[], int]) -> None:
        synced_at = time.monotonic()
        while not self._closed and os.getpid() == self._pid:
            self._tidy()
            if time.monotonic() - synced_at >= sync_seconds:
                self._sync(written())
                synced_at = time.monotonic()
            with suppress(queue.Empty):
                self._wakes.get(timeout=sync_seconds)

    def _tidy(self) -> None:
        self._prepare()
        while not self._retired.empty():
            retired = self._retired.get_nowait()
            # Not where a finalizer made it full in the middle of an append to it: then it goes with that append.
            if sys.getrefcount(retired) <= _ALONE:
                retired.close()

    def _prepare(self) -> None:
        if not self._spare_wanted or not self._spare.empty():
            return
        self._spare_wanted = False
        try:
            # With room for one more: else take, while this one is not ready yet, would find none.
            spare = self._create(self._spare_path, self._size, leave=self._size)
        except OSError as error:
            # emit will meet the same error when it needs the file, and say so.
            logger.debug("no spare journal in %s: %s", self._directory, error)
            return
        _off_the_loop(prefault, spare.map)
        self._spare.put(spare)

    def _create(self, path: Path, allocated: int, *, leave: int = 0) -> Journal:
        self._check_room(allocated + leave)
        return Journal.create(path, self._size, allocated=allocated)

    def _check_room(self, wanted: int) -> None:
        in_use = journals_bytes(self._directory.parent)
        if in_use + wanted > self._max_bytes:
            raise OSError(errno.EDQUOT, f"{in_use:,} bytes are in use")

    def _sync(self, written: int) -> None:
        """Sync what was written and is neither synced nor relayed. ``written`` is the position behind all of it."""
        try:
            position = max(self._synced, self._state.position)
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
        except (OSError, ValueError) as error:
            # The state is closed under it where a slow disk has held it for longer than close waits.
            if not self._closed:
                logger.warning("%s could not be synced to disk: %s", self._directory, error)

    def _sync_frames(self, index: int, start: int, end: int) -> None:
        # Not the file that is written to: its map, and of that only what was.
        current_index, current = self._current
        if index == current_index:
            sync_pages(current.map, start, end)
        else:
            sync_file(journal_path(self._directory, index))

    def _sync_names(self, index: int) -> None:
        """Sync what frames are found by after a power cut: the files' names, and once the state page."""
        if index <= self._named:
            return
        if self._named < 0:
            _off_the_loop(lambda _: self._state.sync(), None)
            _off_the_loop(sync_file, self._directory.parent)
        _off_the_loop(sync_file, self._directory)
        self._named = index

    def _sync_notes(self) -> None:
        """Sync what relays have noted since: after a power cut it says how events were cut that were put."""
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
        error = sys.modules["gevent"].get_hub().threadpool.apply(_error_of, (call, argument))
        if error is not None:
            raise error
    else:
        call(argument)


def _error_of(call: Callable[[_T], None], argument: _T) -> OSError | None:
    # As a value, since gevent prints a traceback for each error that leaves its thread pool.
    try:
        call(argument)
    except OSError as error:
        return error
    return None
