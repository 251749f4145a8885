"""What an event says about what was bought, seen or done, as Meta's ``custom_data``. Pure.

https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/custom-data
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import UndeliverableError
from dispatcher.event import DIRECT_TYPES, data_fields
from dispatcher.outcomes import INVALID

if TYPE_CHECKING:
    from dispatcher.event import Event

# Characters. What is longer is no code or id, but may be what somebody wrote.
_LONGEST_TEXT: Final = 100
# A key with one of these in it is about a person, or opens a door.
_PERSONAL: Final = re.compile(
    "user|name|mail|phone|mobile|birth|gender|address|learner|student|session|password|secret|token|cookie|referer"
)
# Keys that are personal as a whole, or that say something to this destination.
_NOT_CUSTOM: Final = frozenset({"ip", "city", "state", "country", "agent", "action_source", "event_source_url"})
# An e-mail address, or what privacy rules may have made of one.
_PERSONAL_TEXT: Final = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}|[0-9a-f]{64}")


def custom_data(event: Event, *, event_name: str, currency: str | None) -> dict[str, Any]:
    """The ``custom_data`` of an event; empty where it has none.

    Meta's standard fields, then every further number, truth value and short word of the data whose key does not sound
    personal. Nothing nested, and no text of several words: somebody may have written it. ``data.custom_data`` goes
    before that and is taken as it is. A standard field that is not of its type is left out.

    Args:
        event: As the mapping left it.
        event_name: As Meta gets it.
        currency: Of values that come without one.

    Raises:
        UndeliverableError: invalid: a Purchase without value or currency.
    """
    data = data_fields(event)
    properties = data.get("properties") if event.type in DIRECT_TYPES else data
    properties = properties if isinstance(properties, dict) else {}
    said = data.get("custom_data")
    said = said if isinstance(said, dict) else {}
    values = {key: value for key, value in properties.items() if key in _STANDARD or _is_custom(key, value)} | said
    found: dict[str, Any] = {}
    for key, value in values.items():
        read = _STANDARD.get(key)
        kept = value if read is None else read(value)
        if kept is not None:
            found[key] = kept
    _settle_value(found, currency)
    if event_name == "Purchase" and "value" not in found:
        raise UndeliverableError(
            INVALID,
            f"event {event.id} is a Purchase without value and currency, which Meta refuses: set both in the "
            "destination's mapping, or its option currency",
        )
    return found


def _settle_value(found: dict[str, Any], currency: str | None) -> None:
    # Meta refuses a value without its currency, and with it the whole request.
    if "value" in found and "currency" not in found:
        if currency is None:
            del found["value"]
        else:
            found["currency"] = currency.lower()


def _is_custom(key: str, value: object) -> bool:
    if key in _NOT_CUSTOM or _PERSONAL.search(key.lower()):
        return False
    if isinstance(value, str):
        return 0 < len(value) <= _LONGEST_TEXT and not re.search(r"\s", value) and not _PERSONAL_TEXT.fullmatch(value)
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))


def _number(value: object) -> float | int | None:
    if isinstance(value, str):
        # A decimal is text in JSON.
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _whole_number(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _currency(value: object) -> str | None:
    # In lower case, as Meta's SDK sends it.
    text = re.sub("[^a-z]", "", value.lower()) if isinstance(value, str) else ""
    return text if len(text) == 3 else None


def _ids(value: object) -> list[str] | None:
    values = value if isinstance(value, list) else [value]
    return [text for one in values if (text := _text(one)) is not None] or None


def _contents(value: object) -> list[dict[str, Any]] | None:
    contents = value if isinstance(value, list) else []
    return [one for one in contents if isinstance(one, dict) and one.get("id") not in (None, "")] or None


def _one_of(*words: str) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in words else None


_STANDARD: Final[Mapping[str, Callable[[object], Any]]] = MappingProxyType(
    {
        "value": _number,
        "net_revenue": _number,
        "predicted_ltv": _number,
        "currency": _currency,
        "content_name": _text,
        "content_category": _text,
        "content_ids": _ids,
        "contents": _contents,
        # A forum event of edX has a content_type as well, but none of these.
        "content_type": _one_of("product", "product_group"),
        "delivery_category": _one_of("in_store", "curbside", "home_delivery"),
        "num_items": _whole_number,
        "order_id": _text,
        "item_number": _text,
        "search_string": _text,
        "status": _text,
    }
)
