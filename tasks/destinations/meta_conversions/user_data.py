"""What an event says about its person, as Meta's ``user_data``. Pure.

https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from dispatcher.errors import UndeliverableError
from dispatcher.event import DIRECT_TYPES, data_fields
from dispatcher.outcomes import INVALID, MISSING_USER_DATA
from dispatcher.tasks.destinations.meta_conversions.normalising import HASHED_FIELDS, hashed

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.tasks.destinations.person import Person

#: The fields that are sent as they are.
PLAIN_FIELDS: Final = (
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

#: Combinations that name too many people: an event with no more than one of these, or a part of it, is refused
#: (https://developers.facebook.com/docs/marketing-api/conversions-api/best-practices, baseline requirements).
TOO_BROAD: Final = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)

# Names that Segment's spec for traits has (https://segment.com/docs/connections/spec/identify/#traits), and Python's
# way to write them. In the data of an event, "state" or "city" may be that of anything.
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
    """The ``user_data`` of an event: hashed where Meta wants hashes. What the event does not say is left out.

    ``data.user_data``, by Meta's own names, goes before everything else; null or an empty text leaves a field out.

    Raises:
        UndeliverableError: missing_user_data: Meta would refuse it, for it does not say well enough whom it is about.
    """
    data: Mapping[str, Any] = data_fields(event)
    said = _dict(data.get("user_data"))
    if unknown := sorted(set(said) - set(HASHED_FIELDS) - set(PLAIN_FIELDS)):
        known = ", ".join((*HASHED_FIELDS, *PLAIN_FIELDS))
        raise UndeliverableError(INVALID, f"Meta has no user_data.{unknown[0]}: its names are {known}")
    values = {**_found(event, data), **_of(person), **_cookies(event, person), **said}
    found: dict[str, Any] = {field: hashes for field in HASHED_FIELDS if (hashes := _hashes(field, values.get(field)))}
    found |= {field: text for field in PLAIN_FIELDS if (text := _plain(field, values.get(field))) is not None}
    if any(found.keys() <= broad for broad in TOO_BROAD):
        has = ", ".join(found) or "nothing"
        raise UndeliverableError(
            MISSING_USER_DATA,
            f"event {event.id} does not say well enough whom it is about for Meta; it has {has}. Bind user_id, email, "
            "ip, fbp or fbc in the context, or set user_data.em and the like in the destination's mapping",
        )
    return found


def _found(event: Event, data: Mapping[str, Any]) -> dict[str, Any]:
    call_context = _dict(data.get("context")) if event.type in DIRECT_TYPES else {}
    traits = (_dict(data.get("traits")), _dict(call_context.get("traits")), _dict(event.context.get("traits")))
    addresses = [_dict(one.get("address")) for one in (*traits, data)]
    return {
        **{field: _first((*traits, data), names) for field, names in _NAMES.items()},
        **{field: _first((*addresses, *traits), names) for field, names in _ADDRESS_NAMES.items()},
        "em": _first(traits, ("email",)),
    }


def _of(person: Person) -> dict[str, Any]:
    known = {
        "em": person.email,
        "external_id": person.user_id,
        "client_ip_address": person.ip,
        "client_user_agent": person.user_agent,
    }
    return {field: value for field, value in known.items() if value is not None}


def _cookies(event: Event, person: Person) -> dict[str, Any]:
    fbc = event.context.get("fbc")
    return {"fbc": fbc or _click(person.page_url, event.timestamp), "fbp": event.context.get("fbp")}


def _click(page_url: str | None, moment: datetime) -> str | None:
    """The click id that Meta put behind the page's URL, in the form of its cookie ``_fbc``.

    Where no cookie was saved, the subdomain index is 1 and the time is when the id was first seen, in milliseconds
    (https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/fbp-and-fbc).
    """
    if page_url is None or "fbclid=" not in page_url:
        return None
    try:
        clicks = parse_qs(urlsplit(page_url).query).get("fbclid")
    except ValueError:
        return None
    return f"fb.1.{int(moment.timestamp() * 1000)}.{clicks[0]}" if clicks else None


def _hashes(field: str, value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    found = [hashed(field, one) for one in values if isinstance(one, str | int) and not isinstance(one, bool)]
    # Each once, in order.
    return list(dict.fromkeys(one for one in found if one is not None))


def _plain(field: str, value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    text = str(value)
    if field == "client_ip_address":
        try:
            return str(ip_address(text.strip()))
        except ValueError:
            return None
    return text


def _first(places: Iterable[Mapping[str, Any]], names: tuple[str, ...]) -> object:
    return next((place[name] for place in places for name in names if place.get(name) not in (None, "")), None)


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
