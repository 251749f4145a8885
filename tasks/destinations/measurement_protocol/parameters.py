"""Parameters and user properties: the part of an event's data that the protocol can carry. Pure.

Sources: https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#limitations and
https://support.google.com/analytics/answer/9267744.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import UndeliverableError
from dispatcher.outcomes import INVALID
from dispatcher.tasks.destinations.measurement_protocol.names import parameter_name, user_property_name
from dispatcher.templates.number import MAX_NUMBER, with_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MAX_PARAMETERS: Final = 25
MAX_USER_PROPERTIES: Final = 25
# Parameters of an item beside those that Google knows.
MAX_CUSTOM_ITEM_PARAMETERS: Final = 10
# Characters of a text.
MAX_VALUE: Final = 100
MAX_VALUE_360: Final = 500
MAX_USER_PROPERTY_VALUE: Final = 36
_LONGER_VALUES: Final = {"page_title": 300, "page_referrer": 420, "page_location": 1000}

# https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference/events#purchase_item
_KNOWN_ITEM_PARAMETERS: Final = frozenset(
    {
        "affiliation",
        "coupon",
        "creative_name",
        "creative_slot",
        "currency",
        "discount",
        "index",
        "item_brand",
        "item_category",
        "item_category2",
        "item_category3",
        "item_category4",
        "item_category5",
        "item_id",
        "item_list_id",
        "item_list_name",
        "item_name",
        "item_variant",
        "location_id",
        "price",
        "promotion_id",
        "promotion_name",
        "quantity",
    }
)
# What Google reads as a number, of an event and of an item
# (https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference/events).
_NUMBERS: Final = frozenset({"level", "price", "quantity", "score", "shipping", "tax", "value"})
_ITEM_NUMBERS: Final = frozenset({"discount", "index", "price", "quantity"})


def parameters(data: dict[str, Any], *, max_value: int = MAX_VALUE) -> dict[str, Any]:
    """The parameters that the top level of an event's data makes.

    Nulls, empty texts, objects and lists are left out, except the list ``items``. Texts are cut to what Google takes.
    True and false become text, as Google's own tag sends them. Amounts that are the text of a number become numbers.

    Args:
        data: The event's data.
        max_value: The most characters of a text.

    Raises:
        UndeliverableError: ``invalid``: Google does not take a name, two names become one, or they are too many.
    """
    data = with_numbers(data, _NUMBERS, {"items": _ITEM_NUMBERS})
    kept: dict[str, Any] = _scalars(
        ((key, value) for key, value in data.items() if key != "items"), parameter_name, "parameter", max_value
    )
    listed = data.get("items")
    objects = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    if items := [item for item in (_item(item, max_value) for item in objects) if item]:
        kept["items"] = items
    if len(kept) > MAX_PARAMETERS:
        raise UndeliverableError(
            INVALID,
            f"its data makes {len(kept)} parameters, and Google takes {MAX_PARAMETERS}: pick some of them in the "
            f"destination's mapping",
        )
    return kept


def user_properties(properties: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """User properties in the form of a request. Values are left out and cut like those of parameters.

    Raises:
        UndeliverableError: ``invalid``: Google does not take a name, two names become one, or they are too many.
    """
    kept = _scalars(properties.items(), user_property_name, "user property", MAX_USER_PROPERTY_VALUE)
    if len(kept) > MAX_USER_PROPERTIES:
        raise UndeliverableError(
            INVALID,
            f"it has {len(kept)} user properties, and Google takes {MAX_USER_PROPERTIES}: pick some of them in the "
            f"destination's mapping",
        )
    return {name: {"value": value} for name, value in kept.items()}


def cut(name: str, value: str, max_value: int) -> str:
    """A parameter's text, cut to as many characters as Google takes for the parameter."""
    return value[: max(max_value, _LONGER_VALUES.get(name, 0))]


def _item(item: Mapping[str, Any], max_value: int) -> dict[str, Any]:
    kept = _scalars(item.items(), parameter_name, "item parameter", max_value)
    custom = kept.keys() - _KNOWN_ITEM_PARAMETERS
    if len(custom) > MAX_CUSTOM_ITEM_PARAMETERS:
        raise UndeliverableError(
            INVALID,
            f"an item has {len(custom)} parameters of your own, and Google takes {MAX_CUSTOM_ITEM_PARAMETERS}: "
            f"put less into data.items",
        )
    return kept


def _scalars(
    pairs: Iterable[tuple[str, Any]], clean_name: Callable[[str], str], what: str, max_value: int
) -> dict[str, str | int | float]:
    kept: dict[str, str | int | float] = {}
    for key, value in pairs:
        if not isinstance(value, str | int | float) or value == "":
            continue
        name = clean_name(key)
        if name in kept:
            raise UndeliverableError(
                INVALID, f"{what} {name} comes from two fields: rename or drop one in the destination's mapping"
            )
        if isinstance(value, bool):
            kept[name] = "true" if value else "false"
        elif isinstance(value, str) or abs(value) > MAX_NUMBER:
            kept[name] = cut(name, str(value), max_value)
        else:
            kept[name] = value
    return kept
