"""Heartbeat: a page of memory that a process writes to while it runs, and that its parent reads without asking it.

A thread inside a process cannot report that something holds the interpreter, such as a library's C code: the thread
would be held as well.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Final

#: Seconds of silence after which a process counts as held. As long as a lease is by default: what the process had
#: claimed goes to another worker then anyway. Nothing that is in order holds the interpreter for more than a second.
SILENT_SECONDS: Final = 60.0

# The variable that tells the child the number of the page's descriptor. Its name is not one of a setting.
_VARIABLE: Final = "_DISPATCHER_BEAT"
_EVERY_SECONDS: Final = 1.0
_BYTES: Final = 8
# Seconds that one check counts for at most: where this process was stopped itself, the child may have been stopped too.
_CHECK_SECONDS: Final = 1.0


class Page:
    """The parent's side: one page for a child, and for each one that is started in its place. For one thread."""

    def __init__(self) -> None:
        self._file = _open_page()
        self._last = b""
        self._silent = 0.0
        self._checked_at = 0.0
        self.clear()

    @property
    def environ(self) -> dict[str, str]:
        """The variables that the child needs in its environment."""
        return {_VARIABLE: str(self._file)}

    @property
    def descriptor(self) -> int:
        """The file descriptor that the child has to inherit."""
        return self._file

    def clear(self) -> None:
        """Forget the last child. Silence counts from the next one's first beat on, as a start may take any time."""
        os.pwrite(self._file, bytes(_BYTES), 0)
        self._last = bytes(_BYTES)
        self._silent = 0.0
        self._checked_at = time.monotonic()

    def silent_seconds(self) -> float:
        """For how many seconds no beat came. Call it several times a second. Does not block."""
        now = time.monotonic()
        passed, self._checked_at = now - self._checked_at, now
        beat = os.pread(self._file, _BYTES, 0)
        if beat != self._last or not any(beat):
            self._last, self._silent = beat, 0.0
        else:
            self._silent += min(passed, _CHECK_SECONDS)
        return self._silent


def _open_page() -> int:
    # In memory where the system can, so that a full disk stops no beat.
    if hasattr(os, "memfd_create"):
        return os.memfd_create("beat")
    import tempfile  # noqa: PLC0415 - it would be a tenth of a supervisor's memory

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def start() -> bool:
    """The child's side: beat from now on, in a thread, until this process ends.

    Returns:
        False where no parent reads the heartbeat: nothing is started then.
    """
    number = os.environ.pop(_VARIABLE, "")
    if not number.isdecimal():
        return False
    descriptor = int(number)
    with suppress(OSError):
        # No program that this process starts may keep the page open.
        os.set_inheritable(descriptor, False)
        threading.Thread(target=_beat, args=(descriptor,), name="dispatcher-beat", daemon=True).start()
        return True
    return False


def _beat(descriptor: int) -> None:
    while True:
        # The parent takes silence for a process that is held; an error of the page itself says nothing of the kind.
        with suppress(OSError):
            os.pwrite(descriptor, time.monotonic_ns().to_bytes(_BYTES, "little"), 0)
        time.sleep(_EVERY_SECONDS)
