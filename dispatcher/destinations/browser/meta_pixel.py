"""Meta's pixel: events as calls of fbq, with the id by which Meta counts the server's copy once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatcher.destinations.browser.base import BrowserCall, BrowserDestination
from dispatcher.errors import UndeliverableError
from dispatcher.outcomes import INVALID
from dispatcher.templates.number import with_numbers

if TYPE_CHECKING:
    from dispatcher.event import Event

# https://developers.facebook.com/docs/meta-pixel/reference
_STANDARD: Final = frozenset(
    {
        *("AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration", "Contact", "CustomizeProduct"),
        *("Donate", "FindLocation", "InitiateCheckout", "Lead", "PageView", "Purchase", "Schedule", "Search"),
        *("StartTrial", "SubmitApplication", "Subscribe", "ViewContent"),
    }
)
_NUMBERS: Final = frozenset({"num_items", "predicted_ltv", "value"})
_CONTENT_NUMBERS: Final = frozenset({"quantity", "item_price"})


class MetaPixel(BrowserDestination):
    """Meta's pixel: ``fbq("track", …)`` for standard events, ``fbq("trackCustom", …)`` for others.

    ``eventID`` is the event's id, as ``meta_conversions`` sends it: within 48 hours Meta counts both once, where they
    have one name.
    """

    integration = "Facebook Pixel"
    deletion = "never"
    deletion_steps = "Events cannot be deleted; take the person out of custom audiences."
    advertising = True
    documented = (
        *("content_category", "content_ids", "content_name", "content_type", "contents", "currency", "num_items"),
        *("predicted_ltv", "status", "value"),
    )

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        data = with_numbers(event.data, _NUMBERS, {"contents": _CONTENT_NUMBERS})
        if event.name == "Purchase" and not {"value", "currency"} <= data.keys():
            raise UndeliverableError(INVALID, "Meta takes a Purchase with value and currency: emit both")
        method = "track" if event.name in _STANDARD else "trackCustom"
        return (BrowserCall(call="fbq", arguments=(method, event.name, data, {"eventID": event.id})),)
