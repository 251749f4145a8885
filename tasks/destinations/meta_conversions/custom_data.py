"""Custom data: what an event says about what was bought, seen or done, as Meta's ``custom_data``. Pure.

Source: https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/custom-data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import UndeliverableError
from dispatcher.event import DIRECT_TYPES, data_fields
from dispatcher.outcomes import INVALID
from dispatcher.templates.number import to_number, with_numbers

if TYPE_CHECKING:
    from dispatcher.event import Event

# Characters. A longer text is not a code or an id, but may be somebody's own words.
_MAX_TEXT: Final = 100
# A key that contains one of these words is about a person, or holds a credential.
_PERSONAL: Final = re.compile(
    "user|name|mail|phone|mobile|birth|gender|address|learner|student|session|password|secret|token|cookie|referer"
)
# Whole keys that are personal, or that this destination uses itself.
_NOT_CUSTOM: Final = frozenset({"ip", "city", "state", "country", "agent", "action_source", "event_source_url"})
# Characters of a key that is remembered.
_MAX_REMEMBERED: Final = 256
# What Meta reads as a number in each of ``contents``.
_CONTENT_NUMBERS: Final = frozenset({"item_price", "quantity"})
# An e-mail address, or the hash that privacy rules may have made of one.
_PERSONAL_TEXT: Final = re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}|[0-9a-f]{64}")


def custom_data(event: Event, *, event_name: str, currency: str | None) -> dict[str, Any]:
    """The ``custom_data`` of an event; empty if it has none.

    It has Meta's standard fields, and every other number, truth value and short word of the data whose key does not
    sound personal. It has nothing nested and no text of several words, which may be somebody's own.
    ``data.custom_data`` wins over all that and is taken as it is. A standard field whose value is not of its type is
    left out.

    Args:
        event: The event, after the operator's rules.
        event_name: The name that Meta gets.
        currency: The currency of values that come without one.

    Raises:
        UndeliverableError: ``invalid``: a Purchase has no value or currency.
    """
    data = data_fields(event)
    properties = data.get("properties") if event.type in DIRECT_TYPES else data
    properties = properties if isinstance(properties, dict) else {}
    explicit = data.get("custom_data")
    values = {key: value for key, value in properties.items() if key in _STANDARD or _is_custom(key, value)}
    if isinstance(explicit, dict):
        values |= explicit
    custom: dict[str, Any] = {}
    for key, value in values.items():
        read = _STANDARD.get(key)
        kept = value if read is None else read(value)
        if kept is not None:
            custom[key] = kept
    _complete_value(custom, currency)
    if event_name == "Purchase" and "value" not in custom:
        raise UndeliverableError(
            INVALID,
            f"event {event.id} is a Purchase without value and currency, which Meta refuses: set both in the "
            "destination's mapping, or its option currency",
        )
    return custom


def _complete_value(custom: dict[str, Any], currency: str | None) -> None:
    # Meta refuses a whole request for one value without its currency.
    if "value" in custom and "currency" not in custom:
        if currency is None:
            del custom["value"]
        else:
            custom["currency"] = currency.lower()


def _is_custom(key: str, value: object) -> bool:
    if _sounds_personal(key) if len(key) <= _MAX_REMEMBERED else _sounds_personal.__wrapped__(key):
        return False
    if isinstance(value, str):
        return 0 < len(value) <= _MAX_TEXT and not re.search(r"\s", value) and not _PERSONAL_TEXT.fullmatch(value)
    return isinstance(value, bool) or to_number(value) is not None


# Names come from the code of apps, so most events have the same ones.
@lru_cache(maxsize=4096)
def _sounds_personal(key: str) -> bool:
    return key in _NOT_CUSTOM or _PERSONAL.search(key.lower()) is not None


def _whole_number(value: object) -> int | None:
    number = to_number(value)
    return int(number) if number is not None and number == int(number) else None


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else None


def _currency(value: object) -> str | None:
    # In lower case, as Meta's SDK sends it.
    text = re.sub("[^a-z]", "", value.lower()) if isinstance(value, str) else ""
    return text if len(text) == 3 else None


def _ids(value: object) -> list[str] | None:
    values = value if isinstance(value, list) else [value]
    return [text for item in values if (text := _text(item)) is not None] or None


def _contents(value: object) -> list[dict[str, Any]] | None:
    contents = value if isinstance(value, list) else []
    return [
        {
            key: inner
            for key, inner in with_numbers(item, _CONTENT_NUMBERS).items()
            if key not in _CONTENT_NUMBERS or to_number(inner) is not None
        }
        for item in contents
        if isinstance(item, dict) and item.get("id") not in (None, "")
    ] or None


def _one_of(*words: str) -> Callable[[object], str | None]:
    return lambda value: value if isinstance(value, str) and value in words else None


_STANDARD: Final[Mapping[str, Callable[[object], Any]]] = MappingProxyType(
    {
        "value": to_number,
        "net_revenue": to_number,
        "predicted_ltv": to_number,
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
