"""Crazy Egg: recordings of pages, made by its script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.destinations.browser.base import BrowserCall, BrowserDestination
from dispatcher.errors import DropEvent
from dispatcher.outcomes import NO_EVENT_CALL

if TYPE_CHECKING:
    from dispatcher.event import Event


class CrazyEgg(BrowserDestination):
    """Crazy Egg: its script records pages by itself, and no call for events is documented. Takes none."""

    integration = "Crazy Egg"
    deletion = "on_request"
    deletion_steps = "Ask Crazy Egg's support; recordings can be deleted in its own pages."

    def preview(self, event: Event) -> dict[str, Any]:
        """That it is left out, and why."""
        why = "Crazy Egg's script records pages by itself, and documents no call that would hand it an event"
        return {**super().preview(event), "error": why}

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        raise DropEvent(NO_EVENT_CALL)
