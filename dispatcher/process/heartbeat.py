"""Beat: a page of memory that a process writes to while it lives, and that its parent reads without asking it.

A thread inside cannot tell of an interpreter that is held, by a library's C code say: it is held too.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Final

#: Seconds of silence after which a process is taken for held: as long as a lease by default, when what it had claimed
#: goes to another worker anyway. What holds the interpreter for long in good order takes a second.
SILENT_SECONDS: Final = 60.0

# The child finds the number of the page's descriptor in this variable. Not one of ours by its name: it is no setting.
_VARIABLE: Final = "_DISPATCHER_BEAT"
_EVERY_SECONDS: Final = 1.0
_BYTES: Final = 8
# Seconds that one look counts for at most: where this process was stopped itself, the other may have been too.
_LOOK_SECONDS: Final = 1.0


class Page:
    """The parent's side: one page for a child, also when that is started again."""

    def __init__(self) -> None:
        self._file = _open_page()
        self._last = b""
        self._silent = 0.0
        self._looked_at = 0.0
        self.clear()

    @property
    def environ(self) -> dict[str, str]:
        """What the child has to find in its environment."""
        return {_VARIABLE: str(self._file)}

    @property
    def descriptor(self) -> int:
        """What the child has to inherit."""
        return self._file

    def clear(self) -> None:
        """Forget the last child. The next is watched from its first beat on: how long a start takes nobody knows."""
        os.pwrite(self._file, bytes(_BYTES), 0)
        self._last = bytes(_BYTES)
        self._silent = 0.0
        self._looked_at = time.monotonic()

    def silent_seconds(self) -> float:
        """For how long no beat came. Call it several times a second."""
        now = time.monotonic()
        passed, self._looked_at = now - self._looked_at, now
        found = os.pread(self._file, _BYTES, 0)
        if found != self._last or not any(found):
            self._last, self._silent = found, 0.0
        else:
            self._silent += min(passed, _LOOK_SECONDS)
        return self._silent


def _open_page() -> int:
    # In memory where there is such a thing, so that no full disk stops a beat.
    if hasattr(os, "memfd_create"):
        return os.memfd_create("beat")
    import tempfile  # noqa: PLC0415 - it would be a tenth of what a worker's supervisor takes up

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def start() -> bool:
    """The child's side: beat from now on, from a thread, until this process ends. Returns whether anybody looks."""
    number = os.environ.pop(_VARIABLE, "")
    if not number.isdecimal():
        return False
    descriptor = int(number)
    with contextlib.suppress(OSError):
        # No program that this one starts is to hold on to it.
        os.set_inheritable(descriptor, False)
        threading.Thread(target=_beat, args=(descriptor,), name="dispatcher-beat", daemon=True).start()
        return True
    return False


def _beat(descriptor: int) -> None:
    while True:
        # Silence is read as being held, and what is wrong with the page is not that.
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, time.monotonic_ns().to_bytes(_BYTES, "little"), 0)
        time.sleep(_EVERY_SECONDS)
