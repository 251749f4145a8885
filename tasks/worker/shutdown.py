"""Shutdown: a worker that was told to stop has a limited time to finish what it has begun."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Final

from celery.worker import state

from dispatcher.process.system_calls import child_pids

logger = logging.getLogger(__name__)

# The exit code of a worker that left something unfinished.
_EXIT_CODE: Final = 1


class Shutdown:
    """Ends the process if Celery, which waits for deliveries without a limit, has not ended it in time.

    Args:
        seconds: How long Celery has, from the signal on.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = threading.Event()

    def prepare(self) -> None:
        """Start the thread that will wait for the signal. Returns at once."""
        # Before the signal comes: a handler that starts a thread may need a lock which the interrupted code holds.
        threading.Thread(target=self._run, name="dispatcher-shutdown", daemon=True).start()

    def begin(self) -> None:
        """Start the clock. Returns at once; may be called in a signal handler, and twice."""
        self._begun.set()

    def _run(self) -> None:
        self._begun.wait()
        time.sleep(self._seconds)
        # Not only the active ones: a pool of processes no longer reports which of them are active.
        in_hand = sorted(request.id for request in tuple(state.reserved_requests))
        logger.error(
            "not finished within %g s; what was begun is left behind, and comes again when its lease has run out: %s",
            self._seconds,
            ", ".join(in_hand),
        )
        for pid in child_pids():  # of a prefork pool
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os._exit(_EXIT_CODE)
