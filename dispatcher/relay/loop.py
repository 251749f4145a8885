"""RelayLoop: steps a relay until it is stopped, for ``dispatcher relay`` and for the thread of an emitting process."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final

from dispatcher.config.remedy import redis_remedy
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.sentry.outbox_watch import OutboxWatch
from dispatcher.outbox.relay_fifo import OPENED, open_fifo
from dispatcher.process.clock import monotonic
from dispatcher.process.sleeper import Sleeper
from dispatcher.relay.relay import Relay
from dispatcher.relay.relayed_outbox import PutRefusedError

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds to wait after the first failure; doubled for each further one, up to relay.backoff_max_seconds.
_BACKOFF_SECONDS: Final = 0.1
# Events in each linger time up to which every event goes at once, and how many more than that a process may have
# emitted before it counts as busy. So 40 events a second go one by one by default, and 16 of a burst.
_LIGHT_EVENTS: Final = 2.0
_BURST_EVENTS: Final = 16.0
# Seconds for which a relay process sleeps at most, to look for writers that may not wake it.
_FIFO_SECONDS: Final = 1.0
# Seconds to wait where there is something that cannot be read yet.
_HALF_WRITTEN_SECONDS: Final = 0.05


class RelayLoop:
    """Steps a relay when there is something to relay, and sleeps until a writer wakes it.

    In light traffic each event goes at once. In heavy traffic what is emitted within ``relay.linger_seconds`` goes
    together, so that it makes fewer and fuller batches. While the relay fails it is stepped more and more slowly.

    Args:
        relay: What is stepped.
        settings: The relay's.
        has_process: Whether the relay is a process of its own, which other processes wake.
    """

    def __init__(self, relay: Relay, settings: Settings, *, has_process: bool = False) -> None:
        self._relay = relay
        self._settings = settings
        self._has_process = has_process
        self._watch = OutboxWatch(settings)
        self._sleeper = Sleeper()
        self._is_stopped = False
        self._failures = 0
        self._pid = os.getpid()
        # Events above those of light traffic; it falls as time goes on.
        self._load = 0.0
        self._loaded_at = monotonic()
        self._has_crossed = False
        # Whether a process has said that it has opened an outbox.
        self._is_outbox_new = False

    def run(self) -> None:
        """Block until ``stop`` is called, or the process is forked."""
        # In a forked child a greenlet would go on with the parent's outboxes.
        while not self._is_stopped and os.getpid() == self._pid:
            wait = self._step()
            if wait is None:
                self._sleep()
            elif wait > 0:
                self._sleeper.sleep(wait, hears_fifo=False)

    def wake(self) -> None:
        """Have the next step come now. Safe in threads, signal handlers and finalizers."""
        self._sleeper.wake()

    def stop(self) -> None:
        """Have ``run`` return after the step under way. Safe in threads and signal handlers."""
        self._is_stopped = True
        self._sleeper.wake()

    def close(self) -> None:
        """Close what the loop sleeps on, once ``run`` has returned. May be called twice."""
        self._sleeper.close()

    def _step(self) -> float | None:
        """Step once. Returns how many seconds to wait for the next step; None to sleep until there is something."""
        try:
            self._watch.check(self._relay.only_outbox)
            self._relay.step(search=self._is_outbox_new)
            self._is_outbox_new = False
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
        moved = self._relay.moved_events
        is_busy = self._is_busy(moved)
        if self._relay.is_behind:
            return 0
        if moved == 0:
            return None
        self._has_crossed = False
        # Less than a full range waits for more: else steady traffic would make a batch of every few events.
        return self._settings.relay.linger_seconds if is_busy else 0

    def _is_busy(self, moved: int) -> bool:
        """Count what was moved, and say whether that is more than light traffic."""
        now, linger = monotonic(), self._settings.relay.linger_seconds
        passed, self._loaded_at = now - self._loaded_at, now
        if linger > 0:
            self._load = max(0.0, self._load - passed * _LIGHT_EVENTS / linger)
        # No more, so that what is emitted after a burst and a pause of one linger time goes at once again.
        self._load = min(_BURST_EVENTS + 1, self._load + moved)
        return self._load > _BURST_EVENTS

    def _sleep(self) -> None:
        if not self._relay.fall_asleep():
            # Half an event, or a damaged one, would have this loop run without a pause.
            if self._has_crossed:
                self._sleeper.sleep(_HALF_WRITTEN_SECONDS, hears_fifo=False)
            self._has_crossed = True
            return
        self._has_crossed = False
        wait = self._relay.next_step_in()
        if self._has_process:
            wait = min(wait, _FIFO_SECONDS)
            self._listen()
        self._is_outbox_new = OPENED in self._sleeper.sleep(wait)

    def _listen(self) -> None:
        if self._sleeper.has_fifo:
            return
        try:
            self._sleeper.listen(open_fifo(self._settings.outbox_directory))
        except OSError as error:
            # No process has an outbox yet, or the directory is another user's: then it looks once a second.
            logger.debug("no process can wake this relay: %s", error)

    def _back_off(self, error: Exception) -> float:
        self._failures += 1
        if self._failures == 1:
            remedy = f". {redis_remedy(self._settings)}" if isinstance(error, StoreUnavailableError) else ""
            logger.warning("events stay in the outbox until this is mended: %s%s", error, remedy)
        return min(self._settings.relay.backoff_max_seconds, _BACKOFF_SECONDS * 2.0 ** min(self._failures - 1, 10))
