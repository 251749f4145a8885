"""Google Tag Manager's web container: events as messages in its data layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dispatcher.destinations.browser.base import BrowserCall, BrowserDestination, page_user
from dispatcher.destinations.browser.page_data import ECOMMERCE
from dispatcher.errors import UndeliverableError
from dispatcher.event import as_object
from dispatcher.outcomes import RESERVED
from dispatcher.templates.number import with_numbers

if TYPE_CHECKING:
    from dispatcher.event import Event

# Keys that Google Tag Manager reads as orders to itself: https://developers.google.com/tag-manager/devguide
_RESERVED_IN_DATA_LAYER: Final = re.compile(r"event|eventCallback|eventTimeout|gtm(\..*)?")
# What its tags for Google Analytics read as numbers: https://developers.google.com/analytics/devguides/collection/ga4/ecommerce
_NUMBERS: Final = frozenset({"price", "quantity", "shipping", "tax", "value"})
_ITEM_NUMBERS: Final = frozenset({"discount", "index", "price", "quantity"})


class GoogleTagManagerWeb(BrowserDestination):
    """Google Tag Manager's web container: ``dataLayer.push`` (https://developers.google.com/tag-manager/devguide).

    A key of the data with a meaning of its own to Tag Manager makes the event undeliverable.
    """

    integration = "Google Tag Manager"
    deletion = "by_hand"
    deletion_steps = "The container keeps nothing: ask those to whom its tags send."
    # Its tags are advertisers' for the most part.
    advertising = True
    documented = ECOMMERCE

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        data = with_numbers(as_object(event.data), _NUMBERS, {"items": _ITEM_NUMBERS})
        if isinstance(ecommerce := data.get("ecommerce"), dict):
            data = {**data, "ecommerce": with_numbers(ecommerce, _NUMBERS, {"items": _ITEM_NUMBERS})}
        reserved = [key for key in data if _RESERVED_IN_DATA_LAYER.fullmatch(key)]
        if reserved:
            raise UndeliverableError(
                RESERVED,
                f"Google Tag Manager has a meaning of its own for {', '.join(reserved)} in the data layer: rename or "
                f"drop it in [[destinations.{self.name}.mapping]]",
            )
        message: dict[str, Any] = {"eventId": event.id}
        if (user := page_user(event)) is not None:
            message["userId"] = user
        return (BrowserCall(call="dataLayer.push", arguments=({**message, **data, "event": event.name},)),)
