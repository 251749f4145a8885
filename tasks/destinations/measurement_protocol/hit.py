"""Hit: what an event becomes in a request. Pure.

Sources: https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#payload and
https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#override_timestamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from dispatcher.errors import UndeliverableError
from dispatcher.event import data_fields
from dispatcher.outcomes import INVALID, TOO_OLD
from dispatcher.rules.consent import stated_consent
from dispatcher.tasks.destinations.measurement_protocol.identity import session_id_of
from dispatcher.tasks.destinations.measurement_protocol.names import event_name
from dispatcher.tasks.destinations.measurement_protocol.parameters import (
    MAX_PARAMETERS,
    MAX_VALUE,
    MAX_VALUE_360,
    parameters,
    text,
    user_properties,
)
from dispatcher.tasks.destinations.person import Person

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.event import Event

#: What happened longer ago than that, Google dates to then.
MAX_AGE: Final = timedelta(hours=72)
# Characters (https://support.google.com/analytics/answer/9267744).
MAX_USER_ID: Final = 256

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# What is not a parameter: it goes elsewhere in the request.
_ELSEWHERE: Final = frozenset({"user_properties", "app_instance_id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An event, and what a request says once for all its events.

    Args:
        event: Name, parameters and time.
        common: Who, with which properties and which consent.
        common_key: The same for the same ``common``.
    """

    event: Mapping[str, Any]
    common: Mapping[str, Any]
    common_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the settings want of every hit; see the options of the same names.

    Args:
        app: It goes to an app's stream, not to a web site's.
        consent: The consent of Google and the category that stands for it.
    """

    app: bool = False
    send_user_id: bool = True
    send_page: bool = True
    send_event_id: bool = True
    analytics_360: bool = False
    too_old: Literal["dead", "now"] = "dead"
    consent: tuple[tuple[str, str], ...] = ()


def to_hit(event: Event, identity: Mapping[str, str], wishes: Wishes, *, now: datetime) -> Hit:
    """The hit of an event.

    Args:
        event: As the operator's rules left it; it and its dicts stay as they are.
        identity: ``client_id`` or ``app_instance_id``.
        wishes: What the settings want.
        now: When it is sent, from which its age counts.

    Raises:
        UndeliverableError: ``invalid`` or ``too_old``.
    """
    data = data_fields(event)
    made: dict[str, Any] = {"name": event_name(event.name, app=wishes.app)}
    if (micros := _micros(event, wishes, now)) is not None:
        made["timestamp_micros"] = micros
    person = Person.of(event)
    made["params"] = _parameters(event, data, person, wishes)
    common = dict(identity) | _common(event, data, person, wishes)
    return Hit(event=made, common=common, common_key=msgspec.json.encode(common, order="deterministic"))


def _parameters(event: Event, data: Mapping[str, Any], person: Person, wishes: Wishes) -> dict[str, Any]:
    max_value = MAX_VALUE_360 if wishes.analytics_360 else MAX_VALUE
    found = parameters({key: value for key, value in data.items() if key not in _ELSEWHERE}, max_value=max_value)
    extra: dict[str, Any] = {}
    if (session_id := found.get("session_id", session_id_of(event.context))) is not None:
        # Without both of them an event counts for no session, and is not in the reports of the moment.
        extra |= {"session_id": session_id, "engagement_time_msec": 1}
    if wishes.send_event_id:
        extra["event_id"] = event.id
    if wishes.send_page and not wishes.app:
        extra |= {"page_location": person.page_url, "page_referrer": person.referrer}
    for name, value in extra.items():
        # The data's own word goes first, and nothing of ours makes an event too large.
        if value is not None and name not in found and len(found) < MAX_PARAMETERS:
            found[name] = text(name, value, max_value) if isinstance(value, str) else value
    return found


def _common(event: Event, data: Mapping[str, Any], person: Person, wishes: Wishes) -> dict[str, Any]:
    common: dict[str, Any] = {}
    if wishes.send_user_id and person.user_id is not None:
        if len(person.user_id) > MAX_USER_ID:
            raise UndeliverableError(
                INVALID,
                f"the user's id has {len(person.user_id)} characters, and Google takes {MAX_USER_ID}: "
                f"bind a shorter user_id, or set send_user_id = false",
            )
        common["user_id"] = person.user_id
    properties = data.get("user_properties")
    if isinstance(properties, dict) and (found := user_properties(properties)):
        common["user_properties"] = found
    if consent := _consent(event, wishes):
        common["consent"] = consent
    return common


def _consent(event: Event, wishes: Wishes) -> dict[str, str]:
    consent = stated_consent(event)
    categories = consent.get("categoryPreferences") if isinstance(consent, dict) else None
    if not isinstance(categories, dict):
        return {}
    return {
        name: "GRANTED" if categories[category] else "DENIED"
        for name, category in wishes.consent
        if isinstance(categories.get(category), bool)
    }


def _micros(event: Event, wishes: Wishes, now: datetime) -> int | None:
    age = now - event.timestamp
    if age > MAX_AGE:
        if wishes.too_old == "now":
            return None
        raise UndeliverableError(
            TOO_OLD,
            f"it happened {age / timedelta(hours=1):.0f} h ago, and Google takes what is at most 72 h old: with "
            'too_old = "now" it would count as of when it is sent',
        )
    # A clock that is fast: the time of the request serves as well, and Google wants no time that is yet to come.
    return None if age < timedelta() else (event.timestamp - _EPOCH) // timedelta(microseconds=1)
