"""Inheritance: what a forked child has of its parent, and lets go of before any of it can be used twice.

Nothing here may wait, or speak to whoever is at the other end: locks, connections and files are still the parent's.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Each thing with the process that made it, and how one of its children lets go of it.
_owned: Final[WeakKeyDictionary[Any, tuple[int, Callable[[Any], None]]]] = WeakKeyDictionary()


def own(thing: T, let_go: Callable[[T], None]) -> None:
    """Have ``let_go(thing)`` called in every forked child. It must not wait; ``thing`` is not kept alive by this."""
    _owned[thing] = (os.getpid(), let_go)


def let_go_of_inherited() -> None:
    """In a forked child: let go of all that was made before the fork. May be called twice.

    Called by itself, but for forks that run no hooks of Python.
    """
    here = os.getpid()
    for thing, (pid, let_go) in list(_owned.items()):
        # One that is let go of may itself call this.
        if pid == here or _owned.pop(thing, None) is None:
            continue
        try:
            let_go(thing)
        except Exception:
            logger.exception("%s of process %d could not be let go of", type(thing).__name__, pid)


# Before those of modules that close what a greenlet may still look at while it is ended: they import this one.
os.register_at_fork(after_in_child=let_go_of_inherited)


def leave_socket(connection: Any) -> None:
    """Give up a socket that the parent goes on to use: without a word to the other end, which a shutdown would be.

    Its number stays taken, so that whoever still has the object reads and writes nowhere rather than in another file.
    """
    if connection is None:
        return
    nowhere, writer = os.pipe()
    os.close(writer)
    with suppress(OSError, ValueError):
        number = connection.fileno()
        if number >= 0:
            os.dup2(nowhere, number, inheritable=False)
    os.close(nowhere)


class OrphanedError(BaseException):
    """Ends the copy that a forked child has of a greenlet. No Exception, since no loop shall catch it and go on."""


class OwnThread:
    """A daemon thread that no forked child has a share in.

    A fork leaves threads behind. Where gevent or eventlet has replaced them they are greenlets, and a fork copies those
    with everything that they are in the middle of.

    Args:
        target: Ends soon once ``check`` raises, or ``is_copy`` is true.
    """

    def __init__(self, target: Callable[[], None], *, name: str) -> None:
        self._target = target
        self._pid = os.getpid()
        self._greenlet: Any = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_copy(self) -> bool:
        """Whether whoever asks is in a child of the process that the thread is of."""
        return os.getpid() != self._pid

    def start(self) -> None:
        """Raises RuntimeError where no thread can be started."""
        own(self, OwnThread._end_copy)
        self._thread.start()

    def join(self, timeout: float) -> None:
        if not self.is_copy:
            self._thread.join(timeout)

    def check(self) -> None:
        """Called by the thread where it may have been copied: raises OrphanedError in the copy."""
        if self.is_copy:
            raise OrphanedError

    def _run(self) -> None:
        try:
            self.check()
            self._greenlet = _current_greenlet()
            self._target()
        except OrphanedError:
            pass
        finally:
            self._greenlet = None
            if self.is_copy:
                # threading has forgotten the thread in the child, and fails as it ends unless it knows one by its id.
                threading.current_thread()

    def _end_copy(self) -> None:
        copied = self._greenlet
        if copied is None or copied.dead or copied is _current_greenlet():
            return
        # At once, since whatever wakes it first would have it go on. As it ends, its parent goes on: that would be the
        # hub, which does not come back here.
        with suppress(BaseException):  # it is of another thread, which the child does not have
            copied.parent = sys.modules["greenlet"].getcurrent()
            copied.throw(OrphanedError)


def _current_greenlet() -> Any:
    """The greenlet that a thread is under gevent or eventlet; None in a real thread. Imports neither."""
    greenlet = sys.modules.get("greenlet")
    current = None if greenlet is None else greenlet.getcurrent()
    return None if current is None or current.parent is None else current
