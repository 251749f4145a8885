"""Google Analytics 4 on the page: events as calls of gtag."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dispatcher.destinations.browser.base import BrowserCall, BrowserDestination
from dispatcher.destinations.browser.page_data import ECOMMERCE
from dispatcher.errors import UndeliverableError
from dispatcher.outcomes import INVALID
from dispatcher.templates.number import with_numbers

if TYPE_CHECKING:
    from dispatcher.event import Event

# https://support.google.com/analytics/answer/9267744 and, for reserved prefixes, answer/13316687.
_MAX_NAME, _MAX_PARAMETERS, _MAX_VALUE = 40, 25, 100
_RESERVED: Final = re.compile(r"_|ga_|google_|gtag\.|firebase_")
_NUMBERS: Final = frozenset({"price", "quantity", "shipping", "tax", "value"})
_ITEM_NUMBERS: Final = frozenset({"discount", "index", "price", "quantity"})


class GoogleAnalyticsWeb(BrowserDestination):
    """Google Analytics 4: ``gtag("event", …)`` (https://developers.google.com/tag-platform/gtagjs/reference).

    The event's id goes along as ``event_id``. Objects of the data are left out, and lists but ``items``.
    """

    integration = "Google Analytics 4 Web"
    deletion = "on_request"
    deletion_steps = (
        "A `google_analytics` destination of the same property with admin_token asks for both; else "
        "delete the user in the property under User explorer."
    )
    documented = (*ECOMMERCE, "method", "search_term", "content_type", "promotion_id", "promotion_name")

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        name = re.sub(r"[^A-Za-z0-9_]", "_", event.name)
        if not name[:1].isalpha() or len(name) > _MAX_NAME or _RESERVED.match(name):
            raise UndeliverableError(
                INVALID,
                "Google Analytics takes names that begin with a letter, have up to 40 characters, and no reserved "
                f"beginning (ga_, google_, firebase_): map this one in [[destinations.{self.name}.mapping]]",
            )
        data = with_numbers(event.data, _NUMBERS, {"items": _ITEM_NUMBERS})
        parameters: dict[str, Any] = {"event_id": event.id}
        for key, value in data.items():
            if isinstance(value, str):
                parameters[key] = value[:_MAX_VALUE]
            elif isinstance(value, int | float) or (key == "items" and isinstance(value, list)):
                parameters[key] = value
        if len(parameters) > _MAX_PARAMETERS or any(len(key) > _MAX_NAME or _RESERVED.match(key) for key in parameters):
            raise UndeliverableError(
                INVALID,
                "Google Analytics takes up to 25 parameters, with names of up to 40 characters, none of them reserved: "
                f"list fewer in destinations.{self.name}.fields",
            )
        return (BrowserCall(call="gtag", arguments=("event", name, parameters)),)
