"""Segment's analytics.js on the page, for what its device-mode destinations take from browsers only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.destinations.browser.base import BrowserCall, BrowserDestination
from dispatcher.destinations.browser.page_data import ECOMMERCE

if TYPE_CHECKING:
    from dispatcher.event import Event


class SegmentWeb(BrowserDestination):
    """Segment: ``analytics.track`` (https://segment.com/docs/connections/sources/catalog/libraries/website/javascript/).

    ``messageId`` is the event's id, as the destination ``segment`` sends it: Segment takes the pair once.
    """

    deletion = "on_request"
    deletion_steps = (
        "A `segment` destination with public_api_token asks for both; else delete the user in the "
        "workspace, under Privacy."
    )
    documented = ECOMMERCE

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        return (BrowserCall(call="analytics.track", arguments=(event.name, event.data, {"messageId": event.id})),)
