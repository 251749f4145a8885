"""Adoption: which outboxes of dead processes are looked into, and when. One relay of a machine does it at a time.

There may be hundreds of them, whose events wait for a destination that is down. So only a few are open at once, those
that are put are closed until somebody has to ask again whether they are settled, and what is open is given a limit.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from dispatcher.outbox.listing import ADOPTION_LOCK, STATE, directories, names, remove_litter
from dispatcher.process.inheritance import own

#: Outboxes of the dead that are open at once: some four descriptors each.
MAX_OPEN: Final = 8

# Seconds between two looks whether what was put is settled: at first, doubled each time, and at the most.
_FIRST_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 60.0
# Seconds for which a directory without a state file is left alone: its process may be about to remove it.
_LITTER_SECONDS: Final = 60.0


class Adoption:
    """The outboxes of the dead under one root, for the one thread of a relay.

    Args:
        root: The directory of all outboxes.
        clock: Gives seconds that never go back.
    """

    def __init__(self, root: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._fd = -1
        # When each outbox that is put is looked into next, and how long it waited for that.
        self._next: dict[Path, tuple[float, float]] = {}
        # Those for which there was no place yet.
        self._queued: set[Path] = set()

    def is_ours(self) -> bool:
        """Whether this relay is the one; it tries to be, and then stays it until it closes."""
        if self._fd >= 0:
            return True
        try:
            fd = os.open(self._root / ADOPTION_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False  # there is no outbox yet, or it is another user's
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        own(self, Adoption.close)
        return True

    def in_order(self, found: Collection[Path]) -> list[Path]:
        """Those of the outboxes that may be looked into now, what was never put first."""
        return sorted((directory for directory in found if not self.is_resting(directory)), key=self.has_put)

    def is_dead(self, directory: Path) -> bool:
        """Whether it is known to be a dead process's."""
        return directory in self._queued or directory in self._next

    def queue(self, directory: Path) -> None:
        """It is a dead process's, and there is no place for it yet."""
        self._queued.add(directory)

    def is_resting(self, directory: Path) -> bool:
        """Whether an outbox is put, and not to be looked into yet."""
        return directory in self._next and self._clock() < self._next[directory][0]

    def has_put(self, directory: Path) -> bool:
        """Whether an outbox was put to its end by this relay."""
        return directory in self._next

    def rest(self, directory: Path) -> None:
        """All of it is put, and not all is settled: look again after a while."""
        self._queued.discard(directory)
        pause = min(_LAST_SECONDS, 2 * self._next[directory][1]) if directory in self._next else _FIRST_SECONDS
        self._next[directory] = (self._clock() + pause, pause)

    def forget(self, directory: Path) -> None:
        """It is gone."""
        self._queued.discard(directory)
        self._next.pop(directory, None)

    def wake(self) -> None:
        """Have all be looked into now, since room is needed."""
        self._next = {directory: (self._clock(), pause) for directory, (_, pause) in self._next.items()}

    def clear_litter(self) -> None:
        """Remove what a process and a relay, or two that were killed, have left between them; no event is in it."""
        for directory in _abandoned(self._root):
            remove_litter(directory)
        for directory in [one for one in (*self._next, *self._queued) if not one.exists()]:
            self.forget(directory)

    def close(self) -> None:
        """Let another relay look after the dead. May be called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _abandoned(root: Path) -> Iterator[Path]:
    """Directories without a state file, or that were never given their name, for longer than that takes."""
    for directory in directories(root):
        with suppress(OSError):  # gone in the meantime
            if time.time() - directory.stat().st_mtime < _LITTER_SECONDS:
                continue
            if directory.name.startswith("."):
                _remove_unlocked(directory / STATE)
            if STATE not in names(directory):
                yield directory


def _remove_unlocked(state: Path) -> None:
    """Remove the state file of a directory that its process began to make, where that process is gone."""
    try:
        fd = os.open(state, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state.unlink(missing_ok=True)
    finally:
        os.close(fd)
