"""Outbox watch: reports that the outboxes of this machine are nearly full, and that events were refused."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.errors import OutboxError
from dispatcher.monitoring.sentry.report import Report, active_client, send
from dispatcher.outbox.disk_usage import DiskUsage
from dispatcher.outbox.listing import find_outboxes
from dispatcher.outbox.state import State

if TYPE_CHECKING:
    from dispatcher.config import Settings

logger = logging.getLogger(__name__)

# The fraction of outbox.max_bytes in use that is reported, and the one below which the next time is reported again.
_NEARLY_FULL: Final = 0.8
_ROOM_AGAIN: Final = 0.6
# Seconds between two checks.
_CHECK_SECONDS: Final = 10.0


class OutboxWatch:
    """Checks the directory of outboxes and reports to the Sentry of this process. One thread at a time.

    Args:
        settings: Where the outboxes are and how much they may hold.
        every_seconds: The least time between two checks.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        every_seconds: float = _CHECK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = settings.outbox_directory
        self._usage = DiskUsage(self._root)
        self._max_bytes = settings.outbox.max_bytes
        self._quiet_seconds = settings.sentry.interval_seconds
        self._every = every_seconds
        self._clock = clock
        self._checked_at = float("-inf")
        self._reported_at = float("-inf")
        self._is_nearly_full = False
        self._refused: dict[Path, int] = {}
        self._unreported = 0

    def check(self, own: Path | None = None) -> None:
        """Check, if it is time for that and this process has a Sentry. Blocks for some system calls; never raises.

        Args:
            own: The only outbox that is asked for refused events; None asks all. One process of a machine asks all, as
                what that costs grows with their number.
        """
        now = self._clock()
        if now - self._checked_at < self._every or active_client() is None:
            return
        self._checked_at = now
        try:
            directories = find_outboxes(self._root) if own is None else [own]
            in_use = self._usage.total()
            if in_use >= _NEARLY_FULL * self._max_bytes:
                in_use = self._usage.count()
        except OSError as error:
            logger.debug("%s cannot be read: %s", self._root, error)
            return
        self._report_size(in_use)
        self._report_refused(directories, now)

    def _report_size(self, in_use: int) -> None:
        used_fraction = in_use / self._max_bytes
        if used_fraction < _ROOM_AGAIN:
            self._is_nearly_full = False
        if used_fraction >= _NEARLY_FULL and not self._is_nearly_full:
            self._is_nearly_full = True
            send(
                Report(
                    kind="outbox-nearly-full",
                    title="The outboxes of a machine are nearly full; once they are, emit refuses events",
                    level="warning",
                    facts={"percent": round(100 * used_fraction), "bytes": in_use, "max_bytes": self._max_bytes},
                )
            )

    def _report_refused(self, directories: list[Path], now: float) -> None:
        refused = {directory: _refused(directory) for directory in directories}
        self._unreported += sum(max(0, count - self._refused.get(directory, 0)) for directory, count in refused.items())
        self._refused = refused
        if self._unreported and now - self._reported_at >= self._quiet_seconds:
            send(
                Report(
                    kind="events-refused",
                    title="Events were refused, since an outbox was full or could not be written to",
                    level="fatal",
                    facts={"events": self._unreported},
                )
            )
            self._reported_at, self._unreported = now, 0


def _refused(directory: Path) -> int:
    try:
        state = State.open(directory)
    except (OSError, OutboxError):
        return 0  # gone in the meantime, or not readable
    try:
        return state.refused
    finally:
        state.close()
