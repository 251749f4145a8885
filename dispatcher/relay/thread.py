"""Relay thread: the relay inside an emitting process, and the loop that it shares with ``dispatcher relay``."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Final

from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.sentry.outbox_watch import OutboxWatch
from dispatcher.outbox import Outbox
from dispatcher.process.inheritance import OwnThread, let_go_of_inherited
from dispatcher.relay.relay import Relay
from dispatcher.store.celery_producer import load_celery

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds between slices in the emitting process: long enough for a thread that waits for the interpreter to get it.
_YIELD_SECONDS: Final = 0.00005
# A pause that took so many seconds shows that another thread holds the interpreter; then so many slices go without one.
_STARVED_SECONDS: Final = 0.001
_TURNS: Final = 8
# The first wait after the store did not answer; doubled up to relay.backoff_max_seconds.
_BACKOFF_SECONDS: Final = 0.1


class RelayLoop:
    """Steps a relay until it is stopped: every ``linger``, at once while it is behind, and slower while it fails.

    Between the steps it looks whether the outboxes are nearly full, where this process has a Sentry to tell.
    """

    def __init__(self, relay: Relay, settings: Settings) -> None:
        self._relay = relay
        self._linger = settings.relay.linger_seconds
        self._backoff_max = settings.relay.backoff_max_seconds
        self._watch = OutboxWatch(settings)
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._failures = 0
        self._pid = os.getpid()

    def run(self) -> None:
        """Block until ``stop``."""
        # In a forked child a greenlet would go on with the parent's outboxes.
        while not self._stopped.is_set() and os.getpid() == self._pid:
            wait = self._step()
            if wait > 0:
                self._wake.wait(wait)
                self._wake.clear()

    def wake(self) -> None:
        """Have the next step come now. Safe in threads and signal handlers."""
        self._wake.set()

    def stop(self) -> None:
        """Have ``run`` return after the step under way."""
        self._stopped.set()
        self._wake.set()

    def _step(self) -> float:
        try:
            self._watch.check()
            self._relay.step()
        except StoreUnavailableError as error:
            return self._back_off(error)
        except Exception as error:
            logger.exception("the relay failed and will try again")
            return self._back_off(error)
        if self._failures:
            logger.warning("the relay is working again after %d failed tries", self._failures)
            self._failures = 0
        # Less than a whole stretch waits for company: else steady traffic would make a batch of every few events.
        return 0 if self._relay.is_behind else self._linger

    def _back_off(self, error: Exception) -> float:
        self._failures += 1
        if self._failures == 1:
            logger.warning("events stay in the outbox until this is mended: %s", error)
        return min(self._backoff_max, _BACKOFF_SECONDS * 2.0 ** min(self._failures - 1, 10))


class RelayThread:
    """The relay inside an emitting process. ``start`` returns at once; nothing of it outlives the process."""

    def __init__(self, settings: Settings, *, own: Outbox) -> None:
        self._settings = settings
        self._own = own
        self._turns = 0
        self._stopped = False
        self._loop: RelayLoop | None = None
        load_celery(settings)
        self._thread = OwnThread(self._run, name="dispatcher-relay")

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Have the relay look now rather than after ``linger``."""
        if self._loop is not None:
            self._loop.wake()

    def stop(self, timeout: float = 5.0) -> None:
        """Finish the step under way, for up to ``timeout`` seconds."""
        self._stopped = True
        if self._loop is not None:
            self._loop.stop()
        self._thread.join(timeout)

    def _run(self) -> None:
        relay = Relay(self._settings, own=self._own.directory, pause=self._yield)
        self._loop = RelayLoop(relay, self._settings)
        try:
            # Whoever stops it from now on finds the loop, and who did so before has left word.
            if not self._stopped:
                self._loop.run()
        finally:
            if self._thread.is_copy:
                # Forked by something that runs no at-fork hooks: closed by redis-py, a connection would stay open here.
                let_go_of_inherited()
            relay.close()

    def _yield(self) -> None:
        if self._turns > 0:
            self._turns -= 1
            return
        began = time.monotonic()
        time.sleep(_YIELD_SECONDS)
        self._thread.check()
        # A thread that computes without a pause gives the interpreter up only every few milliseconds. To wait for that
        # at each slice would be to fall ever further behind.
        if time.monotonic() - began > _STARVED_SECONDS:
            self._turns = _TURNS
