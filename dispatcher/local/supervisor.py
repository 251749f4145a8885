"""Supervisor: keeps processes running. It starts them, restarts those that end, and leaves none behind.

``dispatcher up`` runs all its parts with it, ``dispatcher worker`` its Celery process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Final

from dispatcher.process.heartbeat import Page
from dispatcher.process.system_calls import IS_LINUX, OrphanGuard, die_with_parent

#: Seconds between SIGTERM and SIGKILL: more than the ten in which a worker ends by itself (tasks/worker/shutdown.py).
GRACE_SECONDS: Final = 15.0
# Seconds before a process that has ended is restarted; doubled each time, up to the maximum.
_FIRST_PAUSE_SECONDS: Final = 0.5
_MAX_PAUSE_SECONDS: Final = 10.0
# A process that ran for so long can run: after it the pauses start anew.
_PROVEN_SECONDS: Final = 30.0

# Seconds that a process has to write its stacks before it is killed.
_STACKS_SECONDS: Final = 1.0
#: The signal on which a process that beats has faulthandler write its stacks.
STACKS: Final = signal.SIGUSR2

Say = Callable[[str, str], None]


@dataclass(slots=True)
class Child:
    """One process that is to be kept running.

    Args:
        name: What its lines of output are marked with.
        command: The program and its arguments.
        environ: Variables on top of this process's own.
        captured: Whether its output goes to ``say``, and not to where this process's own goes.
        silent_seconds: After how long without a sign of life (``heartbeat.start``) it is killed and restarted; None
            for a process that gives none.
        grace_seconds: How long it may take to end after SIGTERM, before SIGKILL.
    """

    name: str
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    captured: bool = True
    silent_seconds: float | None = None
    grace_seconds: float = GRACE_SECONDS
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0
    restart_at: float | None = None
    pause: float = _FIRST_PAUSE_SECONDS
    page: Page | None = None


class Supervisor:
    """Runs children until it is told to stop.

    For the thread that makes it, and no other. The children are killed with -9 when this process is: nothing is lost by
    that, and after SIGTERM a worker might wait for a Redis that is gone already.

    Args:
        say: Called with a child's name and a line of its output or about it, from a thread for each child.
        on_end: Called with a child's name and its signal or exit code when it has ended by itself.
    """

    def __init__(self, say: Say, *, on_end: Say = lambda _name, _how: None) -> None:
        self._say = say
        self._on_end = on_end
        self._children: list[Child] = []
        self._guard = None if IS_LINUX else OrphanGuard()

    def start(self, child: Child) -> None:
        """Start a process and keep it running. Raises OSError if its program cannot be started."""
        self._children.append(child)
        self._spawn(child)

    @property
    def is_idle(self) -> bool:
        """Whether nothing was started yet."""
        return not self._children

    def restart_ended(self) -> None:
        """Restart the children that have ended or give no sign of life. Call it a few times a second.

        Blocks for up to a second for a child that is held.
        """
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._note_end(child, now)
            elif child.page is not None and child.process is not None:
                self._end_if_held(child, child.page, child.process)
            if child.restart_at is not None and now >= child.restart_at:
                self._spawn(child)

    def stop(self, *, asks: bool = True, together: bool = False) -> None:
        """End all children, the last started first, each with all that it has started. May be called twice.

        Blocks for up to the ``grace_seconds`` of each, or of all together: SIGTERM first, then SIGKILL.

        Args:
            asks: Send SIGTERM. Not for children that were told to end already: the signal could meet one that is
                ending, and end it before it has returned its exit code.
            together: Send it to all at once.
        """
        if asks and together:
            for child in self._children:
                if child.process is not None:
                    with contextlib.suppress(ProcessLookupError):
                        child.process.send_signal(signal.SIGTERM)
        for child in reversed(self._children):
            if child.process is not None:
                _end(child.process, child.grace_seconds, asks=asks and not together)
                child.process = None
            child.restart_at = None
        self._guard_children()

    def _spawn(self, child: Child) -> None:
        child.restart_at = None
        child.started_at = time.monotonic()
        if child.silent_seconds is not None:
            child.page = child.page or Page()
            child.page.clear()
        beat = child.page.environ if child.page is not None else {}
        child.process = subprocess.Popen(
            child.command,
            env={**os.environ, **child.environ, **beat},
            pass_fds=() if child.page is None else (child.page.descriptor,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if child.captured else None,
            stderr=subprocess.STDOUT if child.captured else None,
            text=True,
            errors="replace",
            # In a group of its own: Ctrl-C reaches only this process, which then ends its children in order.
            process_group=0,
            preexec_fn=die_with_parent if IS_LINUX else None,  # noqa: PLW1509 - it only calls prctl
        )
        self._guard_children()
        if child.process.stdout is not None:
            threading.Thread(target=self._pump, args=(child.name, child.process.stdout), daemon=True).start()

    def _end_if_held(self, child: Child, page: Page, process: subprocess.Popen[str]) -> None:
        seconds = page.silent_seconds()
        if child.silent_seconds is None or seconds < child.silent_seconds:
            return
        self._say(
            child.name,
            f"has given no sign of life for {seconds:.0f} s: something holds its interpreter, so it is ended with "
            "SIGKILL and started again; what it had claimed comes again when its lease has run out. Where it is held:",
        )
        with contextlib.suppress(ProcessLookupError):
            # Handled in C, so that the stacks are written although no Python runs.
            process.send_signal(STACKS)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STACKS_SECONDS)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def _note_end(self, child: Child, now: float) -> None:
        assert child.process is not None
        code = child.process.returncode
        if now - child.started_at >= _PROVEN_SECONDS:
            child.pause = _FIRST_PAUSE_SECONDS
        self._say(child.name, f"ended with {_meaning(code)}; starting again in {child.pause:g} s")
        self._on_end(child.name, _meaning(code))
        child.process = None
        self._guard_children()
        child.restart_at = now + child.pause
        child.pause = min(child.pause * 2, _MAX_PAUSE_SECONDS)

    def _guard_children(self) -> None:
        if self._guard is not None:
            self._guard.watch([child.process.pid for child in self._children if child.process is not None])

    def _pump(self, name: str, lines: IO[str]) -> None:
        with lines:
            for line in lines:
                self._say(name, line.rstrip())


def _end(process: subprocess.Popen[str], grace_seconds: float, *, asks: bool) -> None:
    # Then the whole group: a worker with the prefork pool has children of its own.
    if asks:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _meaning(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
