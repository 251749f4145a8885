"""Sleeper: where one thread sleeps until another one, a signal handler or another process wakes it. No timer runs."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from typing import Any, Final

from dispatcher.process.inheritance import release_after_fork
from dispatcher.process.system_calls import open_wake_ends, write_at_once

# Eight bytes: a number that is added up, or just bytes in a pipe.
_ONE: Final = (1).to_bytes(8, "little")
_BYTES: Final = 4096


class Sleeper:
    """A descriptor to sleep on, which a write wakes. For one sleeping thread.

    A wake that comes before the sleep ends the sleep at once, so that none is lost. In a greenlet the hub goes on
    meanwhile, since gevent and eventlet replace what is waited with.
    """

    def __init__(self) -> None:
        self._reading, self._writing = open_wake_ends()
        self._fifo = -1
        # Re-entrant, for a signal handler. Without it a wake could go to the next file that gets the number.
        self._lock = threading.RLock()
        release_after_fork(self, Sleeper._close_files)

    @property
    def has_fifo(self) -> bool:
        """Whether other processes can wake it."""
        return self._fifo >= 0

    def listen(self, fifo: int) -> None:
        """Let bytes in a FIFO end ``sleep`` too.

        Args:
            fifo: Its descriptor, open for reading and writing and non-blocking. It is closed with this sleeper.
        """
        self._fifo = fifo

    def sleep(self, seconds: float, *, hears_fifo: bool = True) -> bytes:
        """Sleep until ``wake`` is called or ``seconds`` are over. For the one thread that sleeps here.

        Args:
            seconds: The longest time.
            hears_fifo: Whether another process ends it as well. If not, what it wrote ends the next one that hears.

        Returns:
            What other processes wrote to the FIFO.
        """
        files = [self._reading, self._fifo] if hears_fifo and self._fifo >= 0 else [self._reading]
        if self._reading < 0:
            return b""  # closed, or a greenlet's copy in a forked child
        _wait(files, seconds)
        heard = b""
        for file in files:
            with suppress(OSError):  # nothing there, or closed meanwhile
                content = os.read(file, _BYTES)
                heard = content if file == self._fifo else heard
        return heard

    def wake(self) -> None:
        """End ``sleep`` now, or the next one at once. Safe in threads, signal handlers and finalizers; does not block.

        The calling thread keeps the interpreter, so that the one it wakes does not run in the middle of an ``emit``.
        """
        with self._lock:
            if self._writing >= 0:
                write_at_once(self._writing, _ONE)

    def close(self) -> None:
        """Close the files. ``wake`` does nothing from then on. May be called twice."""
        with self._lock:
            self._close_files()

    def _close_files(self) -> None:
        # In a forked child without the lock, which a thread of the parent may have held.
        files = {self._reading, self._writing, self._fifo} - {-1}
        self._reading = self._writing = self._fifo = -1
        for file in files:
            with suppress(OSError):
                os.close(file)


def _wait(files: list[int], seconds: float) -> None:
    # Looked up at each call: gevent replaces both, eventlet removes the first and replaces the second.
    make_poll: Any = getattr(select, "poll", None)
    if make_poll is None:
        select.select(files, [], [], seconds)
        return
    poll = make_poll()
    for file in files:
        poll.register(file, select.POLLIN)
    poll.poll(max(0.0, seconds) * 1000)
