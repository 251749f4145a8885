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
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from dispatcher.outbox.journal import SUFFIX, create, journal_path
from dispatcher.outbox.pages import prefault, sync_pages
from dispatcher.outbox.state import State

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class JournalFiles:
    """Makes, prepares and syncs the files of one outbox directory. ``take`` is called by one thread at a time."""

    def __init__(self, directory: Path, *, size: int, max_bytes: int, state: State) -> None:
        self._directory = directory
        self._size = size
        self._max_bytes = max_bytes
        self._state = state
        self._synced = 0
        self._spare_path = directory / f"spare{SUFFIX}"
        self._spare: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        self._retired: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        # No threading.Event: what a signal handler that raises leaves of its lock, the next emit would wait for.
        self._wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._current: tuple[int, mmap.mmap]
        self._closed = False
        self._thread: threading.Thread | None = None

    def take(self, index: int) -> mmap.mmap:
        """The map of file ``index``: the spare one, or one made now. Raises OSError when there is no room."""
        path = journal_path(self._directory, index)
        try:
            taken = self._spare.get_nowait()
        except queue.Empty:
            # Left by a try that was cut short by a signal handler that raised; nothing was written to it.
            path.unlink(missing_ok=True)
            taken = self._create(path)
        else:
            self._spare_path.rename(path)
        finally:
            self._wakes.put(None)
        self._current = (index, taken)
        return taken

    def retire(self, finished: mmap.mmap) -> None:
        """Have a full file unmapped. Does not block."""
        self._retired.put(finished)

    def keep(self, sync_seconds: float, written: Callable[[], int]) -> None:
        """Start the thread that keeps a spare file ready and syncs what is not relayed.

        Args:
            sync_seconds: How often it syncs.
            written: Says up to which position there are events.
        """
        arguments = (sync_seconds, written)
        thread = threading.Thread(target=self._run, args=arguments, name="dispatcher-journal", daemon=True)
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
        for maps in (self._spare, self._retired):
            while not maps.empty():
                maps.get_nowait().close()
        self._spare_path.unlink(missing_ok=True)

    def _run(self, sync_seconds: float, written: Callable[[], int]) -> None:
        synced_at = time.monotonic()
        while not self._closed:
            self._tidy()
            if time.monotonic() - synced_at >= sync_seconds:
                self._sync(written())
                synced_at = time.monotonic()
            with suppress(queue.Empty):
                self._wakes.get(timeout=sync_seconds)

    def _tidy(self) -> None:
        self._prepare()
        while not self._retired.empty():
            self._retired.get_nowait().close()

    def _prepare(self) -> None:
        if not self._spare.empty():
            return
        try:
            # With room for one more: else take, while this one is not ready yet, would find none.
            spare = self._create(self._spare_path, leave=self._size)
        except OSError as error:
            # emit will meet the same error when it needs the file, and say so.
            logger.debug("no spare journal in %s: %s", self._directory, error)
            return
        _off_the_loop(prefault, spare)
        self._spare.put(spare)

    def _create(self, path: Path, *, leave: int = 0) -> mmap.mmap:
        in_use = journals_bytes(self._directory.parent)
        if in_use + self._size + leave > self._max_bytes:
            raise OSError(errno.EDQUOT, f"{in_use:,} bytes are in use")
        return create(path, self._size)

    def _sync(self, written: int) -> None:
        """Sync what was written and is neither synced nor relayed. ``written`` is the position behind all of it."""
        position = max(self._synced, self._state.position)
        while position < written and not self._closed:
            index, start = divmod(position, self._size)
            end = min(self._size, start + written - position)
            try:
                _off_the_loop(partial(self._sync_file, index, start), end)
            except FileNotFoundError:
                pass  # relayed in the meantime
            except OSError as error:
                logger.warning("%s could not be synced to disk: %s", journal_path(self._directory, index), error)
                return
            position = self._synced = position + end - start
            # There may be hundreds of files behind, while emit goes on to the next one every few milliseconds.
            self._tidy()

    def _sync_file(self, index: int, start: int, end: int) -> None:
        # Not the file that is written to: its map, and of that only what was.
        current_index, current = self._current
        if index == current_index:
            sync_pages(current, start, end)
            return
        fd = os.open(journal_path(self._directory, index), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fdatasync(fd)
        finally:
            os.close(fd)


def journals_bytes(root: Path) -> int:
    """What the journals of all outboxes under ``root`` take up."""
    return sum(_size(path) for path in root.glob(f"*/*{SUFFIX}"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # relayed in the meantime


def _off_the_loop(call: Callable[[_T], None], argument: _T) -> None:
    # Where gevent has replaced threads, this one is a greenlet, and a blocking call would hold up all the others.
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        sys.modules["gevent"].get_hub().threadpool.apply(call, (argument,))
    else:
        call(argument)
