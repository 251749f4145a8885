"""Watch: sees that a settings file has changed, and reads the settings anew."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from dispatcher.config.schema import Settings

logger = logging.getLogger(__name__)


class SettingsWatch:
    """Sees that a settings file has changed, and reads it anew."""

    def __init__(self, settings: Settings) -> None:
        self._every = settings.relay.reload_seconds
        self._origin = settings.origin
        self._stamps = self._stamp()
        self._looked_at = time.monotonic()

    def changed(self) -> Settings | None:
        """The new settings once after each change; None otherwise, and where the new ones cannot be used."""
        if time.monotonic() - self._looked_at < self._every:
            return None
        self._looked_at = time.monotonic()
        stamps = self._stamp()
        if stamps == self._stamps:
            return None
        self._stamps = stamps
        assert self._origin is not None
        try:
            settings = self._origin.load()
        except SettingsError as error:
            logger.error("the settings have changed but cannot be used; the old ones stay in force: %s", error)
            return None
        logger.info("the settings have changed and were read again")
        return settings

    def _stamp(self) -> tuple[tuple[int, int], ...]:
        if self._origin is None:
            return ()
        return tuple(_file_stamp(path) for path in self._origin.files())


def _file_stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_ino)
