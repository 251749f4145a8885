"""Outbox watch: says before the outboxes of this machine are full, and when events were refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.errors import OutboxError
from dispatcher.monitoring.sentry.report import Report, active_client, send
from dispatcher.outbox.listing import find_outboxes, outbox_disk_bytes
from dispatcher.outbox.state import State

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# The share of outbox.max_bytes that is reported, and the one below which the next time is news again.
_NEARLY_FULL: Final = 0.8
_ROOM_AGAIN: Final = 0.6
# Seconds between two looks, each of which asks for the size of every journal.
_LOOK_SECONDS: Final = 10.0


class OutboxWatch:
    """Looks at the directory of outboxes and reports to the Sentry of this process. One thread at a time.

    Args:
        settings: Where the outboxes are and what they may hold.
        every_seconds: How often ``look`` really looks.
        clock: Gives seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        every_seconds: float = _LOOK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = settings.outbox_directory
        self._max_bytes = settings.outbox.max_bytes
        self._quiet_seconds = settings.sentry.interval_seconds
        self._every = every_seconds
        self._clock = clock
        self._looked_at = float("-inf")
        self._told_at = float("-inf")
        self._is_nearly_full = False
        self._refused: dict[Path, int] = {}
        self._untold = 0

    def look(self) -> None:
        """Look, where it is time to and this process has a Sentry. Blocks for some system calls; never raises."""
        now = self._clock()
        if now - self._looked_at < self._every or active_client() is None:
            return
        self._looked_at = now
        try:
            directories = find_outboxes(self._root)
            in_use = sum(outbox_disk_bytes(directory) for directory in directories)
        except OSError as error:
            logger.debug("%s cannot be looked at: %s", self._root, error)
            return
        self._tell_of_size(in_use)
        self._tell_of_refused(directories, now)

    def _tell_of_size(self, in_use: int) -> None:
        share = in_use / self._max_bytes
        if share < _ROOM_AGAIN:
            self._is_nearly_full = False
        if share >= _NEARLY_FULL and not self._is_nearly_full:
            self._is_nearly_full = True
            send(
                Report(
                    kind="outbox-nearly-full",
                    title="The outboxes of a machine are nearly full; once they are, emit refuses events",
                    level="warning",
                    facts={"percent": round(100 * share), "bytes": in_use, "max_bytes": self._max_bytes},
                )
            )

    def _tell_of_refused(self, directories: list[Path], now: float) -> None:
        refused = {directory: _refused(directory) for directory in directories}
        self._untold += sum(max(0, count - self._refused.get(directory, 0)) for directory, count in refused.items())
        self._refused = refused
        if self._untold and now - self._told_at >= self._quiet_seconds:
            send(
                Report(
                    kind="events-refused",
                    title="Events were refused, since an outbox was full or could not be written to",
                    level="fatal",
                    facts={"events": self._untold},
                )
            )
            self._told_at, self._untold = now, 0


def _refused(directory: Path) -> int:
    try:
        state = State.open(directory)
    except (OSError, OutboxError):
        return 0  # gone in the meantime, or nothing that can be read
    try:
        return state.refused
    finally:
        state.close()
