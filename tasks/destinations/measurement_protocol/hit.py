"""Hit: an event in the form of the Measurement Protocol. Pure.

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
from dispatcher.tasks.destinations.measurement_protocol.identity import to_session_id
from dispatcher.tasks.destinations.measurement_protocol.names import event_name
from dispatcher.tasks.destinations.measurement_protocol.parameters import (
    MAX_PARAMETERS,
    MAX_VALUE,
    MAX_VALUE_360,
    cut,
    parameters,
    user_properties,
)
from dispatcher.tasks.destinations.person import Person

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.event import Event

#: Google dates older events to so long ago.
MAX_AGE: Final = timedelta(hours=72)
# Characters (https://support.google.com/analytics/answer/9267744).
MAX_USER_ID: Final = 256

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Fields of the data that are not parameters, but stand elsewhere in the request.
_NOT_PARAMETERS: Final = frozenset({"user_properties", "app_instance_id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An event, and the fields that a request has once for all its events.

    Args:
        event: The name, the parameters and the time.
        common: The person's ids, user properties and consent.
        common_key: ``common`` as bytes, which are the same for equal fields.
    """

    event: Mapping[str, Any]
    common: Mapping[str, Any]
    common_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HitOptions:
    """How to make hits; see the options of ``MeasurementProtocolOptions`` of the same names.

    Args:
        app: Whether hits go to an app's stream, and not to a web site's.
        consent: Pairs of a consent of Google's and the category that stands for it.
    """

    app: bool = False
    send_user_id: bool = True
    send_page: bool = True
    send_event_id: bool = True
    analytics_360: bool = False
    too_old: Literal["dead", "now"] = "dead"
    consent: tuple[tuple[str, str], ...] = ()


def to_hit(event: Event, identity: Mapping[str, str], options: HitOptions, *, now: datetime) -> Hit:
    """The hit of an event. The event and its dicts stay as they are.

    Args:
        event: The event, after the operator's rules.
        identity: ``client_id`` or ``app_instance_id``.
        options: How to make it.
        now: When it is sent: the event's age is counted to then.

    Raises:
        UndeliverableError: ``invalid`` or ``too_old``.
    """
    data = data_fields(event)
    hit: dict[str, Any] = {"name": event_name(event.name, app=options.app)}
    if (micros := _micros(event, options, now)) is not None:
        hit["timestamp_micros"] = micros
    person = Person.of(event)
    hit["params"] = _parameters(event, data, person, options)
    common = dict(identity) | _common(event, data, person, options)
    return Hit(event=hit, common=common, common_key=msgspec.json.encode(common, order="deterministic"))


def _parameters(event: Event, data: Mapping[str, Any], person: Person, options: HitOptions) -> dict[str, Any]:
    max_value = MAX_VALUE_360 if options.analytics_360 else MAX_VALUE
    params = parameters({key: value for key, value in data.items() if key not in _NOT_PARAMETERS}, max_value=max_value)
    extra: dict[str, Any] = {}
    session_id = to_session_id(params.pop("session_id", None)) or to_session_id(event.context.get("ga_session_id"))
    if session_id is not None:
        # An event without both of them counts for no session, and is missing from the real-time reports.
        extra |= {"session_id": session_id, "engagement_time_msec": 1}
    if options.send_event_id:
        extra["event_id"] = event.id
    if options.send_page and not options.app:
        extra |= {"page_location": person.page_url, "page_referrer": person.referrer}
    for name, value in extra.items():
        # A parameter of the data's own stays, and an event never gets too many parameters by ours.
        if value is not None and name not in params and len(params) < MAX_PARAMETERS:
            params[name] = cut(name, value, max_value) if isinstance(value, str) else value
    return params


def _common(event: Event, data: Mapping[str, Any], person: Person, options: HitOptions) -> dict[str, Any]:
    common: dict[str, Any] = {}
    if options.send_user_id and person.user_id is not None:
        if len(person.user_id) > MAX_USER_ID:
            raise UndeliverableError(
                INVALID,
                f"the user's id has {len(person.user_id)} characters, and Google takes {MAX_USER_ID}: "
                f"bind a shorter user_id, or set send_user_id = false",
            )
        common["user_id"] = person.user_id
    properties = data.get("user_properties")
    if isinstance(properties, dict) and (kept := user_properties(properties)):
        common["user_properties"] = kept
    if consent := _consent(event, options):
        common["consent"] = consent
    return common


def _consent(event: Event, options: HitOptions) -> dict[str, str]:
    consent = stated_consent(event)
    categories = consent.get("categoryPreferences") if isinstance(consent, dict) else None
    if not isinstance(categories, dict):
        return {}
    return {
        name: "GRANTED" if categories[category] else "DENIED"
        for name, category in options.consent
        if isinstance(categories.get(category), bool)
    }


def _micros(event: Event, options: HitOptions, now: datetime) -> int | None:
    age = now - event.timestamp
    if age > MAX_AGE:
        if options.too_old == "now":
            return None
        raise UndeliverableError(
            TOO_OLD,
            f"it happened {age / timedelta(hours=1):.0f} h ago, and Google takes events of at most 72 h: with "
            'too_old = "now" it would count for the time of sending',
        )
    # The event's clock is fast. Google refuses a time that is yet to come; without one, the time of the request counts.
    return None if age < timedelta() else (event.timestamp - _EPOCH) // timedelta(microseconds=1)
