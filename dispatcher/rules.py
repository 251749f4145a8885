"""Rules: what the operator wants done with an event before one destination gets it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.event import Event


class Rules:
    """Consent, mapping and privacy of one destination, in this order."""

    def apply(self, event: Event) -> Event:
        """The event as the destination gets it.

        Raises:
            DropEvent: It does not go there; the reason is consent, integrations or mapping.
            UndeliverableError: A rule cannot be carried out on it.
        """
        return event
