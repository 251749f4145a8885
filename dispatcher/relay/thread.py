"""RelayThread: the relay inside an emitting process. It lets the threads that emit go first."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from dispatcher.outbox import Outbox
from dispatcher.process.clock import monotonic
from dispatcher.process.inheritance import OwnThread, release_inherited
from dispatcher.relay.loop import RelayLoop
from dispatcher.relay.relay import Relay
from dispatcher.store.celery_producer import load_celery

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# Seconds between slices in the emitting process: long enough for a thread that waits for the interpreter to get it.
_YIELD_SECONDS: Final = 0.00005
# A pause that took so many seconds shows that another thread holds the interpreter; so many pauses in a row in which
# nothing was emitted, that none waits for it to emit. Then so many slices go without a pause.
_STARVED_SECONDS: Final = 0.001
_QUIET_PAUSES: Final = 3
_SLICES_WITHOUT_PAUSE: Final = 8


class RelayThread:
    """The relay inside an emitting process. Nothing of it outlives the process.

    Args:
        settings: The relay's.
        own: The outbox of this process.
    """

    def __init__(self, settings: Settings, *, own: Outbox) -> None:
        self._settings = settings
        self._own = own
        self._slices_without_pause = 0
        self._quiet_pauses = 0
        self._written = own.position
        self._stopped = False
        self._loop: RelayLoop | None = None
        load_celery(settings)
        self._thread = OwnThread(self._run, name="dispatcher-relay")

    def start(self) -> bool:
        """Start relaying. Returns at once: False where no thread can be started, which is logged."""
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending
            logger.error("the relay's thread cannot be started: %s; events wait for another relay", error)
            return False
        return True

    def wake(self) -> None:
        """Have the relay step now rather than after ``relay.linger_seconds``. Safe in threads."""
        if self._loop is not None:
            self._loop.wake()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop after the step under way. Blocks up to ``timeout`` seconds."""
        self._stopped = True
        if self._loop is not None:
            self._loop.stop()
        self._thread.join(timeout)

    def _run(self) -> None:
        relay = Relay(self._settings, own=self._own.directory, pause=self._yield)
        self._loop = RelayLoop(relay, self._settings)
        self._own.wake_by(self._loop.wake)
        try:
            # From here on ``stop`` stops the loop; a call before this has left its mark only.
            if not self._stopped:
                self._loop.run()
        finally:
            if self._thread.is_copy:
                # Forked by something that runs no at-fork hooks: closed by redis-py, a connection would stay open here.
                release_inherited()
            relay.close()
            self._own.wake_by(None)
            self._loop.close()

    def _yield(self) -> None:
        if self._slices_without_pause > 0:
            self._slices_without_pause -= 1
            return
        began = monotonic()
        time.sleep(_YIELD_SECONDS)
        self._thread.check()
        before, self._written = self._written, self._own.position
        self._quiet_pauses = self._quiet_pauses + 1 if self._written == before else 0
        # A thread that computes without a pause gives the interpreter up only every few milliseconds. To wait for that
        # at each slice would be to fall ever further behind. And where nobody emits, a pause is as long as a third of
        # a slice, for nothing.
        if monotonic() - began > _STARVED_SECONDS or self._quiet_pauses >= _QUIET_PAUSES:
            self._slices_without_pause = _SLICES_WITHOUT_PAUSE
