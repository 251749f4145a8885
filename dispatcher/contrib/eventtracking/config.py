"""Config: what Django's settings switch."""

from __future__ import annotations

from typing import Final

from django.conf import settings


class Switch:
    """A setting that is true or false.

    Args:
        name: Of the setting.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def is_enabled(self) -> bool:
        """Whether it is set and true. Looked up at each call."""
        return bool(getattr(settings, self.name, False))


#: Whether events that EVENT_BUS_TRACKING_LOGS lists go to the event bus.
SEND_TRACKING_EVENT_EMITTED_SIGNAL: Final = Switch("SEND_TRACKING_EVENT_EMITTED_SIGNAL")
