"""RelayLoop: steps a relay until it is stopped, for ``dispatcher relay`` and for the thread of an emitting process."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final

from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.sentry.outbox_watch import OutboxWatch
from dispatcher.relay.relay import PutRefusedError, Relay

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds to wait after the first failure; doubled for each further one, up to relay.backoff_max_seconds.
_BACKOFF_SECONDS: Final = 0.1


class RelayLoop:
    """Steps a relay every ``relay.linger_seconds``, at once while it is behind, and more slowly while it fails.

    Between the steps it checks whether the outboxes are nearly full, where this process reports to Sentry.
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
        """Block until ``stop`` is called, or the process is forked."""
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
        """Have ``run`` return after the step under way. Safe in threads and signal handlers."""
        self._stopped.set()
        self._wake.set()

    def _step(self) -> float:
        """Step once. Returns how many seconds to wait for the next step."""
        try:
            self._watch.check()
            self._relay.step()
        except (StoreUnavailableError, PutRefusedError) as error:
            return self._back_off(error)
        except OSError as error:
            # A directory of another user, or a full disk: the text says what to mend, and a traceback nothing more.
            logger.debug("the relay failed", exc_info=True)
            return self._back_off(error)
        except Exception as error:
            logger.exception("the relay failed and will try again")
            return self._back_off(error)
        if self._failures:
            logger.warning("the relay is working again after %d failed tries", self._failures)
            self._failures = 0
        # Less than a full range waits for more: else steady traffic would make a batch of every few events.
        return 0 if self._relay.is_behind else self._linger

    def _back_off(self, error: Exception) -> float:
        self._failures += 1
        if self._failures == 1:
            logger.warning("events stay in the outbox until this is mended: %s", error)
        return min(self._backoff_max, _BACKOFF_SECONDS * 2.0 ** min(self._failures - 1, 10))
