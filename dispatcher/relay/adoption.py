"""Adoption: which outboxes of dead processes are opened, and when. One relay of a machine adopts at a time.

There may be hundreds of them, whose events wait for a destination that is down. So a relay has only a few open at once.
It closes those that are put, until it has to ask again whether they are settled, and limits what it keeps open.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.outbox.listing import ADOPTION_LOCK, DAMAGED, STATE, is_outbox, names, remove_litter
from dispatcher.outbox.permissions import pass_on_group
from dispatcher.outbox.state import pid_of
from dispatcher.process.clock import monotonic, time_ns
from dispatcher.process.inheritance import release_after_fork
from dispatcher.process.system_calls import is_running

#: Outboxes of dead processes that are open at once: some four descriptors each.
MAX_OPEN: Final = 8

# Seconds until it is checked whether what was put is settled: at first, doubled each time, and at most.
_FIRST_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 60.0
# Seconds for which a directory without a state file is left alone: its process may be about to remove it.
_LITTER_SECONDS: Final = 60.0
# Seconds in which one outbox of a process that seems to live is looked at: a thousand take some 20 ms in all.
_LOOK_SECONDS: Final = 0.05


class Adoption:
    """What a relay knows of the outboxes of dead processes. For its one thread.

    An outbox is *queued* while too many others are open, and *postponed* once it is put and not settled.

    Args:
        root: The directory of all outboxes.
        clock: Gives seconds that never go back.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = monotonic) -> None:
        self._root = root
        self._clock = clock
        self._lock_fd = -1
        # When each outbox that is put is opened again, and for how many seconds it was postponed.
        self._postponed: dict[Path, tuple[float, float]] = {}
        self._queued: set[Path] = set()
        # When each outbox that a living process or another relay has is looked at again, by name.
        self._left: dict[str, float] = {}
        self._every_seconds = 0.0
        # What may be litter, and what each other name under the root is.
        self._suspects: set[str] = set()
        self._known: set[str] = set()

    @property
    def has_lock(self) -> bool:
        """Whether this relay adopts at present. No system call."""
        return self._lock_fd >= 0

    def is_ours(self) -> bool:
        """Whether this relay is the one that adopts. Takes the lock where it is free, and keeps it until ``close``."""
        if self._lock_fd >= 0:
            return True
        try:
            fd = os.open(self._root / ADOPTION_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False  # no process has an outbox yet, or the directory is another user's
        try:
            pass_on_group(fd, self._root)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._lock_fd = fd
        release_after_fork(self, Adoption.close)
        return True

    def find(self, opened: Collection[Path], *, every_seconds: float) -> list[Path]:
        """The outboxes that may be opened now, first those that were never put. Reads the names under the root.

        One that was left to a living process costs one system call, which says whether that process exists. Whether it
        is the same one is asked every ``every_seconds`` too, and more seldom where there are hundreds.

        Args:
            opened: Those that are open already.
            every_seconds: How often this is called.

        Raises:
            OSError: The root cannot be read.
        """
        now = self._clock()
        present = set(names(self._root)) - {DAMAGED}
        self._forget_all_but(present)
        self._every_seconds = max(every_seconds, _LOOK_SECONDS * len(self._left))
        taken = {directory.name for directory in opened}
        found = []
        for name in sorted(present - taken):
            if now < self._left.get(name, now) and is_running(pid_of(name)):
                continue
            if name not in self._known:
                if not is_outbox(self._root, name):
                    self._suspects.add(name)
                    continue
                self._known.add(name)
                self._suspects.discard(name)
            directory = self._root / name
            if now >= self._postponed.get(directory, (now, 0.0))[0]:
                found.append(directory)
        return sorted(found, key=self.has_put)

    def _forget_all_but(self, present: set[str]) -> None:
        self._known &= present
        self._suspects &= present
        self._left = {name: until for name, until in self._left.items() if name in present}
        for directory in [*self._postponed, *self._queued]:
            if directory.name not in present:
                self.forget(directory)

    def leave(self, directory: Path) -> None:
        """Leave an outbox to the living process, or to the other relay, that has it."""
        self._left[directory.name] = self._clock() + self._every_seconds

    def is_dead(self, directory: Path) -> bool:
        """Whether the outbox is known to be a dead process's."""
        return directory in self._queued or directory in self._postponed

    def has_put(self, directory: Path) -> bool:
        """Whether this relay has put the outbox to its end."""
        return directory in self._postponed

    def queue(self, directory: Path) -> None:
        """Remember that the outbox is a dead process's, and that too many others are open."""
        self._queued.add(directory)

    def postpone(self, directory: Path) -> None:
        """Have the outbox opened again after a while: all of it is put, and not all is settled."""
        self._queued.discard(directory)
        seconds = min(_LAST_SECONDS, 2 * self._postponed[directory][1]) if self.has_put(directory) else _FIRST_SECONDS
        self._postponed[directory] = (self._clock() + seconds, seconds)

    def forget(self, directory: Path) -> None:
        """Forget an outbox that was removed."""
        self._queued.discard(directory)
        self._postponed.pop(directory, None)

    def wake(self) -> None:
        """Have all postponed outboxes opened now, since room is needed."""
        self._postponed = {directory: (self._clock(), seconds) for directory, (_, seconds) in self._postponed.items()}

    def clear_litter(self) -> None:
        """Remove directories that a process and a relay, or two that were killed, have left. They hold no event.

        They have no state file, or were never given their name, for longer than that takes.
        """
        for directory in (self._root / name for name in self._suspects):
            with suppress(OSError):  # removed in the meantime
                if not directory.is_dir() or time_ns() / 1e9 - directory.stat().st_mtime < _LITTER_SECONDS:
                    continue
                if directory.name.startswith("."):
                    _remove_unlocked(directory / STATE)
                if STATE not in names(directory):
                    remove_litter(directory)

    def close(self) -> None:
        """Let another relay adopt. May be called twice."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _remove_unlocked(state: Path) -> None:
    """Remove the state file of a directory that a process has begun to make, where that process is dead."""
    try:
        fd = os.open(state, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state.unlink(missing_ok=True)
    finally:
        os.close(fd)
