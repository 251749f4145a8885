"""Inheritance: what a forked child gets from its parent, and releases before any of it can be used twice.

Nothing here may wait, or speak to the other end of a connection: locks, connections and files are still the parent's.
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

# Each thing with the process that made it, and the function that releases it in a child of that process.
_owned: Final[WeakKeyDictionary[Any, tuple[int, Callable[[Any], None]]]] = WeakKeyDictionary()


def release_after_fork(thing: T, release: Callable[[T], None]) -> None:
    """Have ``release(thing)`` called in every forked child. Safe in threads.

    Args:
        thing: What this process owns. It is not kept alive by this.
        release: Must not wait, and must leave alone what the parent goes on to use.
    """
    _owned[thing] = (os.getpid(), release)


def release_inherited() -> None:
    """In a forked child: release everything that was made before the fork. May be called twice; does not block.

    It runs by itself, except after a fork that runs no hooks of Python.
    """
    pid = os.getpid()
    for thing, (owner, release) in list(_owned.items()):
        # What is released may itself call this.
        if owner == pid or _owned.pop(thing, None) is None:
            continue
        try:
            release(thing)
        except Exception:
            logger.exception("%s of process %d could not be released", type(thing).__name__, owner)


# Registered before the hooks of modules that import this one: they close what a greenlet may use until it has ended.
os.register_at_fork(after_in_child=release_inherited)


def abandon_socket(connection: Any) -> None:
    """Give up a socket that the parent goes on to use, without a word to the other end: no shutdown, no TLS alert.

    Its number stays taken, so that whoever still has the object reads and writes nowhere rather than in another file.

    Args:
        connection: A socket, or None, which does nothing.
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
    """Ends a forked child's copy of a greenlet. Not an Exception, so that no loop catches it and goes on."""


class OwnThread:
    """A daemon thread of one process, which no forked child goes on with.

    A fork leaves threads behind. Where gevent or eventlet has replaced threads they are greenlets, and a fork copies
    greenlets in the middle of whatever they do.

    Args:
        target: Ends soon once ``check`` raises, or ``is_copy`` is true.
        name: The thread's name.
    """

    def __init__(self, target: Callable[[], None], *, name: str) -> None:
        self._target = target
        self._pid = os.getpid()
        self._greenlet: Any = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_copy(self) -> bool:
        """Whether this process is a forked child of the thread's own."""
        return os.getpid() != self._pid

    def start(self) -> None:
        """Start the thread. Raises RuntimeError where no thread can be started."""
        release_after_fork(self, OwnThread._end_copy)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the thread to end. Does nothing in a forked child."""
        if not self.is_copy:
            self._thread.join(timeout)

    def check(self) -> None:
        """Raise OrphanedError in a copy. For the thread itself, after everything during which it may be copied."""
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
