"""Optimizely Web: events as calls of its snippet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatcher.destinations.browser.base import BrowserCall, BrowserDestination, scalars
from dispatcher.errors import UndeliverableError
from dispatcher.outcomes import INVALID
from dispatcher.templates.number import to_number

if TYPE_CHECKING:
    from dispatcher.event import Event

# What the reserved tag of Optimizely counts: https://docs.developers.optimizely.com/web/docs/event
_REVENUE: Final = "revenue"


class OptimizelyWeb(BrowserDestination):
    """Optimizely Web: ``optimizely.push`` of an event (https://docs.developers.optimizely.com/web/docs/event).

    Tags are flat, so objects, lists and nulls of the data are left out. The visitor is the browser's own.
    """

    integration = "Optimizely"
    deletion = "on_request"
    deletion_steps = "Send Optimizely a data subject request with the visitor's id."
    documented = ("revenue", "value")

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        tags = scalars(event.data)
        if _REVENUE in tags:
            tags[_REVENUE] = self._cents(tags[_REVENUE])
        # Segment calls them so, and an API name cannot hold a colon.
        message = {"type": "event", "eventName": event.name.replace(":", "_"), "tags": tags}
        return (BrowserCall(call="optimizely.push", arguments=(message,)),)

    def _cents(self, revenue: object) -> int:
        number = to_number(revenue)
        # 75.00 as text, as a Decimal becomes, is an amount of another unit than cents.
        if isinstance(number, int) or (isinstance(revenue, float) and number is not None and number.is_integer()):
            return int(number)
        raise UndeliverableError(
            INVALID,
            "Optimizely takes the tag revenue as a whole number of cents: emit it so, or drop it in "
            f"[[destinations.{self.name}.mapping]]",
        )
