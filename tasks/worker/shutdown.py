"""Departure: a worker that was told to stop has a limited time for what it has begun."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from celery.worker import state

logger = logging.getLogger(__name__)

# What a worker's process ends with that left something behind.
_EXIT_CODE: Final = 1


class Departure:
    """Ends the process where Celery, which waits for deliveries without a limit, has not done so in time.

    Args:
        seconds: From the signal on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = threading.Event()

    def prepare(self) -> None:
        """Start the thread that will count. Returns at once."""
        # Not only when the signal comes: a signal handler that starts a thread may wait for a lock that it interrupted.
        threading.Thread(target=self._run, name="dispatcher-departure", daemon=True).start()

    def begin(self) -> None:
        """Start the clock. Returns at once; for signal handlers, and may be called twice."""
        self._begun.set()

    def _run(self) -> None:
        self._begun.wait()
        time.sleep(self._seconds)
        self._end()

    def _end(self) -> None:
        # Not the active ones only: of a pool of processes the worker does not hear any more which those are.
        in_hand = sorted(request.id for request in tuple(state.reserved_requests))
        logger.error(
            "not finished within %g s; what was begun is left behind, and comes again when its lease has run out: %s",
            self._seconds,
            ", ".join(in_hand),
        )
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(_EXIT_CODE)


def _children() -> list[int]:
    """The processes of a prefork pool."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in text.split()]
