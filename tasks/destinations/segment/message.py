"""Message: what an event or a direct call becomes in a request to Segment. Pure.

messageId and timestamp are the event's own, so that Segment drops a message that it gets a second time
(https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from dispatcher.destinations.identifiers import to_id
from dispatcher.event import DIRECT_TYPES, as_object, data_fields, utc_text
from dispatcher.rules.consent import stated_consent, stated_integrations
from dispatcher.store.event_ids import SOURCE_KEY
from dispatcher.tasks.destinations.person import Person, segment_ids
from dispatcher.templates.number import with_numbers
from dispatcher.version import __version__

if TYPE_CHECKING:
    from dispatcher.event import Event

Properties = Literal["data", "edx"]

LIBRARY: Final = {"name": "dispatcher", "version": __version__}

# Fields of a direct call beside whom it is about and when it happened, and the field that has its payload.
# ``channel`` and ``_metadata``, by which Segment knows what a page has sent itself, come from clients of the collector.
_CALL_KEYS: Final = ("event", "name", "category", "integrations", "channel", "_metadata")
_PAYLOAD_KEYS: Final = {
    "track": "properties",
    "page": "properties",
    "screen": "properties",
    "identify": "traits",
    "group": "traits",
}

# What Segment's spec has as numbers: https://segment.com/docs/connections/spec/track/#properties and
# https://segment.com/docs/connections/spec/ecommerce/v2/.
_NUMBERS: Final = frozenset(
    {"discount", "position", "price", "quantity", "revenue", "shipping", "subtotal", "tax", "total", "value"}
)
_LISTS: Final = {"products": _NUMBERS}

# What opaque-keys takes as a course run: course-v1:org+course+run, ccx-v1:…+ccx@1, or the old org/course/run.
_COURSE_RUN: Final = re.compile(
    r"(?:course|ccx)-v1:[\w\-~.:]+\+[\w\-~.:]+\+[\w\-~.:]+(?:\+ccx@\d+)?|[\w\-~.:]+/[\w\-~.:]+/[\w\-~.:]+"
)


class SharedFields(msgspec.Struct, frozen=True):
    """The fields of a track call that follow from the context of its event alone.

    Args:
        ids: Whom Segment takes it for; empty if the context does not say.
        rest: ``integrations`` where the context has it, and ``context``.
    """

    ids: dict[str, str]
    rest: dict[str, Any]


def shared_fields(event: Event) -> SharedFields:
    """What the message of an event, which is not a direct call, has in common with all events of its context."""
    return SharedFields(segment_ids(event), _rest(event, {}))


def encoded_shared_fields(event: Event) -> SharedFields:
    """The same, with the context as JSON already."""
    shared = shared_fields(event)
    context = msgspec.Raw(msgspec.json.encode(shared.rest["context"]))
    return SharedFields(shared.ids, {**shared.rest, "context": context})


def to_message(event: Event, *, properties: Properties = "data") -> dict[str, Any]:
    """The message that an event becomes. Pure: the event and its dicts stay as they are.

    Args:
        event: An event, which becomes a track call, or a direct call.
        properties: What the properties of an event's track call are: its data, or the whole event as edX sends it.
    """
    if event.type in DIRECT_TYPES:
        message = direct_message(event)
    else:
        message = track_message(event, shared_fields(event), properties=properties)
    return message | {"timestamp": utc_text(event.timestamp)}


def track_message(event: Event, shared: SharedFields, *, properties: Properties) -> dict[str, Any]:
    """The message of an event that is not a direct call, with its timestamp as it is: JSON has the same text of it."""
    return {
        "type": "track",
        "messageId": event.id,
        "timestamp": event.timestamp,
        # Segment answers 200 to a message without a user, and drops it. The event's id is the same in every repeat.
        **(shared.ids or {"anonymousId": event.id}),
        "event": event.name,
        "properties": _edx_properties(event) if properties == "edx" else _to_numbers(event, as_object(event.data)),
        **shared.rest,
    }


def direct_message(event: Event) -> dict[str, Any]:
    """The message of a direct call, with its timestamp as it is."""
    call = data_fields(event)
    ids = segment_ids(event) or {"anonymousId": event.id}
    message = {"type": event.type, "messageId": event.id, "timestamp": event.timestamp, **ids}
    message |= {key: call[key] for key in _CALL_KEYS if call.get(key) is not None}
    message |= {key: id_ for key in ("groupId", "previousId") if (id_ := to_id(call.get(key))) is not None}
    if event.type == "track":
        message.setdefault("event", event.name)
    if payload_key := _PAYLOAD_KEYS.get(event.type):
        payload = as_object(call.get(payload_key))
        message[payload_key] = _to_numbers(event, payload) if payload_key == "properties" else payload
    return message | _rest(event, call)


def _rest(event: Event, call: dict[str, Any]) -> dict[str, Any]:
    context = _context(call.get("context"), Person.of_browser(event))
    if (consent := stated_consent(event)) is not None:
        context["consent"] = consent
    integrations = stated_integrations(event)
    return {"integrations": integrations, "context": context} if integrations else {"context": context}


def _to_numbers(event: Event, properties: dict[str, Any]) -> dict[str, Any]:
    # What came over HTTP was JSON: a text in it was meant as one, while that of an app may have been a Decimal.
    return properties if SOURCE_KEY in event.context else with_numbers(properties, _NUMBERS, _LISTS)


def _edx_properties(event: Event) -> dict[str, Any]:
    properties = {
        "name": event.name,
        "timestamp": event.timestamp.isoformat(),
        "data": event.data,
        "context": event.context,
    }
    course_id = event.context.get("course_id")
    if course_id is not None:
        properties["label"] = course_id
        if isinstance(course_id, str) and _COURSE_RUN.fullmatch(course_id):
            properties["courserun_key"] = course_id
    properties["nonInteraction"] = 1
    return properties


def _context(call_context: object, person: Person) -> dict[str, Any]:
    """The context of a direct call; what the tracking context says of the browser fills what is absent from it."""
    context: dict[str, Any] = dict(call_context) if isinstance(call_context, dict) else {}
    for key, text in (("ip", person.ip), ("userAgent", person.user_agent)):
        if text is not None:
            context.setdefault(key, text)
    page = {"path": person.page_path, "referrer": person.referrer, "url": person.page_url}
    _fill(context, "page", {key: text for key, text in page.items() if text})
    if person.client_id is not None:
        _fill(context, "Google Analytics", {"clientId": person.client_id})
    context.setdefault("library", dict(LIBRARY))
    return context


def _fill(context: dict[str, Any], key: str, defaults: dict[str, Any]) -> None:
    fields = context.get(key, {})
    if defaults and isinstance(fields, dict):
        context[key] = defaults | fields
