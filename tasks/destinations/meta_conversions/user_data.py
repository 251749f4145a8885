"""User data: what an event says about its person, as Meta's ``user_data``. Pure.

Source:
https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeGuard
from urllib.parse import parse_qs, urlsplit

from dispatcher.destinations.identifiers import to_address, to_id, to_user_agent
from dispatcher.errors import UndeliverableError
from dispatcher.event import DIRECT_TYPES, data_fields
from dispatcher.outcomes import INVALID, MISSING_USER_DATA
from dispatcher.tasks.destinations.meta_conversions.normalising import HASHED_FIELDS, hashed

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.tasks.destinations.person import Person

#: The fields that are sent unhashed.
UNHASHED_FIELDS: Final = (
    "client_ip_address",
    "client_user_agent",
    "fbc",
    "fbp",
    "subscription_id",
    "fb_login_id",
    "lead_id",
    "anon_id",
    "madid",
    "page_id",
    "page_scoped_user_id",
    "ctwa_clid",
    "ig_account_id",
    "ig_sid",
)

# How the fields look that Meta documents a form of: the pixel's cookies as fb.<subdomain>.<milliseconds>.<id>
# (https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/fbp-and-fbc), behind which its
# parameter builder may put a word about itself; Meta's own ids are numbers.
_FORMS: Final[Mapping[str, re.Pattern[str]]] = MappingProxyType(
    {
        "fbc": re.compile(r"fb\.[0-9]\.1[0-9]{12}\.[A-Za-z0-9_-]{1,1000}(?:\.[A-Za-z0-9_-]{1,16})?"),
        "fbp": re.compile(r"fb\.[0-9]\.1[0-9]{12}\.[0-9]{1,20}(?:\.[A-Za-z0-9_-]{1,16})?"),
        "fb_login_id": re.compile(r"[0-9]{1,20}"),
        "lead_id": re.compile(r"[0-9]{1,20}"),
    }
)
_ANY_ID: Final = re.compile(r".{1,512}")

#: Combinations that fit too many people. Meta refuses an event whose fields are all in one of these
#: (https://developers.facebook.com/docs/marketing-api/conversions-api/best-practices, baseline requirements).
TOO_BROAD: Final = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

# Names of Segment's spec for traits (https://segment.com/docs/connections/spec/identify/#traits), and in Python's
# spelling. "state" and "city" are not among them, because in an event's data they may be those of anything.
_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ph": ("phone",),
        "fn": ("firstName", "first_name"),
        "ln": ("lastName", "last_name"),
        "db": ("birthday", "date_of_birth"),
        "ge": ("gender",),
    }
)
_ADDRESS_NAMES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ct": ("city",),
        "st": ("state",),
        "zp": ("postalCode", "postal_code", "zip"),
        "country": ("country",),
    }
)


def user_data(event: Event, person: Person) -> dict[str, Any]:
    """The ``user_data`` of an event, hashed where Meta wants hashes. Fields that the event does not have are left out.

    ``data.user_data``, by Meta's own names, wins over everything else; null or an empty text leaves a field out.

    Args:
        event: The event, after the operator's rules.
        person: Whom it is about.

    Raises:
        UndeliverableError: ``missing_user_data``: Meta would refuse the event, because it does not say well enough whom
            it is about. ``invalid``: ``data.user_data`` has a field that Meta does not know.
    """
    data: Mapping[str, Any] = data_fields(event)
    explicit = _dict(data.get("user_data"))
    if unknown := sorted(set(explicit) - set(HASHED_FIELDS) - set(UNHASHED_FIELDS)):
        known = ", ".join((*HASHED_FIELDS, *UNHASHED_FIELDS))
        raise UndeliverableError(INVALID, f"Meta has no user_data.{unknown[0]}: its names are {known}")
    values = {**_traits(event, data), **_person_fields(person), **_cookies(event, person), **explicit}
    values = {field: value for field, value in values.items() if value is not None}
    fields: dict[str, Any] = {}
    for field in HASHED_FIELDS:
        if field in values and (hashes := _hashes(field, values[field])):
            fields[field] = hashes
    for field in UNHASHED_FIELDS:
        if field in values and (text := _unhashed(field, values[field])) is not None:
            fields[field] = text
    if any(fields.keys() <= broad for broad in TOO_BROAD):
        has = ", ".join(fields) or "nothing"
        raise UndeliverableError(
            MISSING_USER_DATA,
            f"event {event.id} does not say well enough whom it is about for Meta; it has {has}. Bind user_id, email, "
            "ip, fbp or fbc in the context, or set user_data.em and the like in the destination's mapping",
        )
    return fields


def _traits(event: Event, data: Mapping[str, Any]) -> dict[str, Any]:
    call_context = _dict(data.get("context")) if event.type in DIRECT_TYPES else {}
    holders = (_dict(data.get("traits")), _dict(call_context.get("traits")), _dict(event.context.get("traits")))
    # Most events have none of these, and then there is nowhere to look.
    traits = [holder for holder in holders if holder]
    places = [address for holder in (*traits, data) if (address := _dict(holder.get("address")))] + traits
    fields = {field: _first((*traits, data), names) for field, names in _NAMES.items()}
    if places:
        fields |= {field: _first(places, names) for field, names in _ADDRESS_NAMES.items()}
        fields["em"] = _first(traits, ("email",))
    return fields


def _person_fields(person: Person) -> dict[str, Any]:
    known = {
        "em": person.email,
        "external_id": person.user_id,
        "client_ip_address": person.ip,
        "client_user_agent": person.user_agent,
    }
    return {field: value for field, value in known.items() if value is not None}


def _cookies(event: Event, person: Person) -> dict[str, Any]:
    fbc = _unhashed("fbc", event.context.get("fbc")) or _click(person.page_url, event.timestamp)
    return {"fbc": fbc, "fbp": event.context.get("fbp")}


def _click(page_url: str | None, timestamp: datetime) -> str | None:
    """The click id that Meta has added to the page's URL, in the form of its cookie ``_fbc``.

    If no cookie was saved, the subdomain index is 1 and the time is when the id was first seen, in milliseconds
    (https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/fbp-and-fbc).
    """
    if page_url is None or "fbclid=" not in page_url:
        return None
    try:
        clicks = parse_qs(urlsplit(page_url).query).get("fbclid")
    except ValueError:
        return None
    return f"fb.1.{int(timestamp.timestamp() * 1000)}.{clicks[0]}" if clicks else None


def _hashes(field: str, value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    hashes = [hashed(field, item) for item in values if _is_value(item)]
    # Each hash once, in their order.
    return list(dict.fromkeys(item for item in hashes if item is not None))


def _unhashed(field: str, value: object) -> str | None:
    """The value as Meta takes it in a field; None if Meta would refuse the request for it."""
    if field == "client_ip_address":
        return to_address(value)
    if field == "client_user_agent":
        return to_user_agent(value)
    text = to_id(value) or ""
    return text if _FORMS.get(field, _ANY_ID).fullmatch(text) else None


def _first(places: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> object:
    for place in places:
        for name in names:
            if name in place and _is_value(place[name]):
                return place[name]
    return None


def _is_value(value: object) -> TypeGuard[str | int]:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, int) and not isinstance(value, bool)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
