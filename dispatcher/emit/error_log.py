"""Error log: what emit logs of events that it cannot take, so rarely that a broken app does not fill its own log."""

from __future__ import annotations

import logging
from typing import Final

from dispatcher.errors import InvalidEventError, OutboxError, SettingsError
from dispatcher.process.clock import monotonic

logger = logging.getLogger(__name__)

# Seconds between two lines about refused events.
_REFUSED_SECONDS: Final = 60.0
# Pairs of an event's name and a reason that are remembered, so that each pair is logged once.
_MAX_DEAD: Final = 10_000


class ErrorLog:
    """Logs the events of one process that were not taken. Safe in threads: at worst a line comes twice."""

    def __init__(self) -> None:
        self._quiet_until = 0.0
        self._dead: set[tuple[str, str]] = set()

    def after_fork(self) -> None:
        """In a forked child: log its first refused event, even where its parent has just logged one."""
        self._quiet_until = 0.0

    def refused(self, error: OutboxError | SettingsError, circumstances: str) -> None:
        """Log that events are refused because the outbox is full or missing. At most once a minute."""
        now = monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + _REFUSED_SECONDS
            logger.error("events are refused, %s: %s", circumstances, error)

    def dead(self, error: InvalidEventError) -> None:
        """Log that an event became a dead letter. Once for each name and reason."""
        key = (error.event_name, error.reason)
        if key not in self._dead and len(self._dead) < _MAX_DEAD:
            self._dead.add(key)
            logger.error("%s. It was kept as a dead letter; more of this name and reason are not logged", error)
