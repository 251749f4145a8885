"""Crossings: the points at which a process can be killed, between two changes that outlive it.

A process's memory dies with it, so a kill at any time between two such changes has the same effect. Crossings are calls
to the store, files that are created, renamed and deleted, and numbers in a state file. Lines of code of the outbox and
the relay are counted too, because of what they write to a memory map.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final

_CREATES: Final = os.O_CREAT | os.O_TRUNC
# Functions of ``os`` that change a file without an audit event; the second ones need disk space.
_CHANGES: Final = ("fdatasync", "fsync", "ftruncate")
_GROWS: Final = ("posix_fallocate", "pwrite", "write", "writev")
# Where a relay decides; its other files only compute, or change what is counted as a crossing.
_TRACED_RELAY: Final = tuple(
    f"/relay/{name}.py" for name in ("journal_progress", "outboxes", "relay", "relayed_outbox")
)


class Killed(BaseException):
    """The process is dead: nothing that runs while this exception propagates changes anything."""


class Crossings:
    """Counts the crossings of one call at a time, kills at one of them, and simulates a full disk."""

    def __init__(self) -> None:
        self.root = ""
        self.is_full = False
        self._is_running = False
        self._is_dead = False
        self._kill_at: int | None = None
        self._crossed = 0
        self._lines_left = 0

    @contextmanager
    def running(self, *, kill_at: int | None = None, kill_at_line: int | None = None) -> Iterator[None]:
        """Run real code within it. Raises Killed at the given crossing or line, or at its end if it gets that far."""
        self._is_running, self._is_dead, self._kill_at, self._crossed = True, False, kill_at, 0
        if kill_at_line is not None:
            self._lines_left = kill_at_line
            sys.settrace(self._enter)
        try:
            yield
            if kill_at is not None or kill_at_line is not None:
                raise Killed
        except Exception:
            # Nobody sees other exceptions of a dead process.
            if self._is_dead:
                raise Killed from None
            raise
        finally:
            if kill_at_line is not None:
                sys.settrace(None)
            self._is_running = self._is_dead = False

    def cross(self) -> None:
        """Call before a change that outlives the process."""
        if not self._is_running:
            return
        if self._is_dead or self._crossed == self._kill_at:
            self._is_dead = True
            raise Killed
        self._crossed += 1

    def grow(self) -> None:
        """Call before such a change that needs disk space."""
        self.cross()
        if self._is_running and self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Handle an audit event of Python's."""
        if not self._is_running:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _CREATES and self._is_ours(path) and not os.path.exists(path):
                self.grow()
        elif event == "os.mkdir" and self._is_ours(arguments[0]):
            self.grow()
        elif event in ("os.remove", "os.rename", "os.rmdir", "os.truncate") and self._is_ours(arguments[0]):
            self.cross()

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and str(path).startswith(self.root)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        return self._line if _is_traced(frame.f_code) else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        if event == "line":
            self._lines_left -= 1
            if self._lines_left <= 0:
                self._is_dead = True
                raise Killed
        return self._line


class CrossingOs:
    """Replaces the module ``os`` in the simulated code."""

    def __init__(self, crossings: Crossings) -> None:
        self.__dict__.update(vars(os))
        for name in _CHANGES:
            self.__dict__[name] = _before(crossings.cross, getattr(os, name))
        for name in _GROWS:
            self.__dict__[name] = _before(crossings.grow, getattr(os, name))


def _before(cross: Callable[[], None], call: Callable[..., Any]) -> Callable[..., Any]:
    def crossing(*arguments: Any, **named: Any) -> Any:
        cross()
        return call(*arguments, **named)

    return crossing


def _is_traced(code: CodeType) -> bool:
    # Not the frames that are parsed: nothing there outlives the process. Not the closing of files, which the system
    # does at the death of a process: it could not be repeated after half of it. And not State's mapping, whose ``with``
    # would leave its file open if the kill met its last line.
    path = code.co_filename
    if "/dispatcher/" not in path or path.endswith("/journal.py") or code.co_name in ("close", "_close_file"):
        return False
    if code.co_qualname == "State.__init__":
        return False
    return "/dispatcher/outbox/" in path or path.endswith(_TRACED_RELAY)
