"""Watch: the settings are read again after a change of their files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dispatcher.errors import SettingsError
from dispatcher.process.clock import monotonic

if TYPE_CHECKING:
    from dispatcher.config.schema import Settings

logger = logging.getLogger(__name__)


class SettingsWatch:
    """Checks every ``relay.reload_seconds`` whether a settings file has changed. One thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._every = settings.relay.reload_seconds
        self._origin = settings.origin
        self._stamps = self._take_stamps()
        self._checked_at = monotonic()

    def changed(self) -> Settings | None:
        """The new settings, once after each change; None otherwise, and while the new ones cannot be used.

        Cheap until the time of the next check; then it asks the file system about two files.
        """
        if monotonic() - self._checked_at < self._every:
            return None
        self._checked_at = monotonic()
        stamps = self._take_stamps()
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

    @property
    def changed_ms(self) -> int | None:
        """When the latest of the files changed, in milliseconds since 1970, as last seen; None without files."""
        return max((stamp[0] // 1_000_000 for stamp in self._stamps if stamp[0]), default=None)

    def _take_stamps(self) -> list[tuple[int, int]]:
        """The time and the inode of each file; zeros for one that does not exist."""
        stamps = []
        for path in () if self._origin is None else self._origin.files():
            try:
                status = path.stat()
            except OSError:
                stamps.append((0, 0))
            else:
                stamps.append((status.st_mtime_ns, status.st_ino))
        return stamps
