"""Segment: sends events and direct calls as messages of its HTTP Tracking API, in requests to its batch endpoint.

messageId and timestamp are the event's own, so that Segment drops a message that it gets a second time. It takes 32 KB
a message and 500 KB a request
(https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/).
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from functools import cached_property
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

import msgspec
from pydantic import Field, SecretStr
from requests import PreparedRequest, Session
from requests.adapters import BaseAdapter
from segment.analytics.request import post

from dispatcher.destinations.base import reveal
from dispatcher.destinations.identifiers import to_id
from dispatcher.destinations.traits import SEGMENT
from dispatcher.edx_log.python_json import as_python_writes
from dispatcher.errors import DropEvent
from dispatcher.event import DIRECT_TYPES, as_object, data_fields, utc_text
from dispatcher.outcomes import UNIDENTIFIED
from dispatcher.rules.consent import stated_consent, stated_integrations
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, NoAnswer, Request
from dispatcher.tasks.destinations.http.urls import BaseUrl
from dispatcher.tasks.destinations.person import Person, segment_ids
from dispatcher.templates.number import with_numbers
from dispatcher.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dispatcher.event import Event

# Segment refuses a larger message.
MAX_MESSAGE_BYTES: Final = 32_768
# Segment takes 500 KB a request; the difference is for what it may count in another way.
MAX_REQUEST_BYTES: Final = 475_000
# Segment's own libraries send no more; of a request with more than 2 500 it answers 200 and drops the messages.
MAX_REQUEST_MESSAGES: Final = 100


class SegmentOptions(HttpOptions):
    """The settings of a Segment destination."""

    write_key: SecretStr | None = Field(default=None, description="The source's write key. Without one, events wait.")
    host: BaseUrl = Field(default="https://api.segment.io", description="Where /v1/batch is: scheme and host.")
    gzip: bool = Field(default=False, description="Compress requests.")
    properties: Literal["data", "edx"] = Field(
        default="data",
        description='What a track call has as properties: "data" is the event\'s data, "edx" the whole event with '
        "label, courserun_key and nonInteraction, as edX sends it.",
    )
    unidentified: Literal["send", "skip"] = Field(
        default="send",
        description="What becomes of an event that says nothing of whom it is about: it is sent, and is a user of its "
        "own in Segment, or it is left out.",
    )


# Headers that requests adds by itself, and that are the connection's business.
_OF_REQUESTS: Final = frozenset({"Connection", "Content-Length", "Accept-Encoding"})

# Segment's package logs whole request bodies at DEBUG: what people did, with their ids and addresses.
logging.getLogger("segment").setLevel(logging.CRITICAL)

LIBRARY: Final = {"name": "dispatcher", "version": __version__}

# Fields of a direct call beside whom it is about and when it happened, and the field that has its payload.
_CALL_KEYS: Final = ("event", "name", "category", "integrations")
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

# What opaque-keys takes as a course run: course-v1:org+course+run, ccx-v1:…+ccx@1, or the old org/course/run.
_COURSE_RUN: Final = re.compile(
    r"(?:course|ccx)-v1:[\w\-~.:]+\+[\w\-~.:]+\+[\w\-~.:]+(?:\+ccx@\d+)?|[\w\-~.:]+/[\w\-~.:]+/[\w\-~.:]+"
)


def to_message(event: Event, *, properties: Literal["data", "edx"] = "data") -> dict[str, Any]:
    """The message that an event becomes. Pure: the event and its dicts stay as they are.

    Args:
        event: An event, which becomes a track call, or a direct call.
        properties: What the properties of an event's track call are: its data, or the whole event as edX sends it.
    """
    direct = event.type in DIRECT_TYPES
    call = data_fields(event) if direct else {}
    message: dict[str, Any] = {
        "type": event.type if direct else "track",
        "messageId": event.id,
        "timestamp": utc_text(event.timestamp),
        # Segment answers 200 to a message without a user, and drops it. The event's id is the same in every repeat.
        **(segment_ids(event) or {"anonymousId": event.id}),
    }
    if direct:
        message |= _call(event, call)
    else:
        message["event"] = event.name
        message["properties"] = _edx_properties(event) if properties == "edx" else _to_numbers(as_object(event.data))
    if integrations := stated_integrations(event):
        message["integrations"] = integrations
    message["context"] = _context(call.get("context"), Person.of_browser(event))
    if (consent := stated_consent(event)) is not None:
        message["context"]["consent"] = consent
    return message


def _call(event: Event, call: dict[str, Any]) -> dict[str, Any]:
    fields = {key: call[key] for key in _CALL_KEYS if call.get(key) is not None}
    fields |= {key: id_ for key in ("groupId", "previousId") if (id_ := to_id(call.get(key))) is not None}
    if event.type == "track":
        fields.setdefault("event", event.name)
    if payload_key := _PAYLOAD_KEYS.get(event.type):
        payload = as_object(call.get(payload_key))
        fields[payload_key] = _to_numbers(payload) if payload_key == "properties" else payload
    return fields


def _to_numbers(properties: dict[str, Any]) -> dict[str, Any]:
    return with_numbers(properties, _NUMBERS, {"products": _NUMBERS})


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


class Segment(HttpDestination[SegmentOptions, dict[str, Any]]):
    """Delivers to Segment with the requests of its own package, over the connections of all HTTP destinations.

    The package's client follows redirects with everything that it sends, replaces the write key by what ~/.netrc has,
    and reads answers of any size for as long as they last.
    """

    Options = SegmentOptions
    traits = SEGMENT
    limits = Limits(events=MAX_REQUEST_MESSAGES, request_bytes=MAX_REQUEST_BYTES, event_bytes=MAX_MESSAGE_BYTES)

    @property
    def endpoint(self) -> str:
        return f"{self.options.host}/v1/batch"

    def missing_settings(self) -> str | None:
        if reveal(self.options.write_key):
            return None
        return (
            f"Segment has no write key: set {self.variable('write_key')} to the key of a source in Segment; "
            f"the events of {self.name!r} wait until then"
        )

    def item(self, event: Event) -> dict[str, Any]:
        message = to_message(event, properties=self.options.properties)
        if self.options.unidentified == "skip" and message.get("anonymousId") == event.id:
            raise DropEvent(UNIDENTIFIED)
        return message

    def item_bytes(self, item: dict[str, Any]) -> int:
        # The package writes JSON as Python's json does, with blanks and \u escapes.
        return len(as_python_writes(msgspec.json.encode(item)))

    def body_bytes(self, items: Sequence[dict[str, Any]], items_bytes: int) -> int:
        # A comma and a blank stand between two items.
        return self._empty_body_bytes + items_bytes + 2 * (len(items) - 1)

    @cached_property
    def _empty_body_bytes(self) -> int:
        return len(self.request([]).body)

    def request(self, items: Sequence[dict[str, Any]]) -> Request:
        """The request as the package makes it, before compression and without sentAt, the time of sending."""
        return self._request(items, sent_at="")

    def send(self, items: Sequence[dict[str, Any]], *, attempt: int) -> Answer | NoAnswer:
        return self.send_built(
            lambda: self._request(
                items, sent_at=utc_text(datetime.now(UTC), "milliseconds"), attempt=attempt, gzipped=self.options.gzip
            )
        )

    def _request(
        self, items: Sequence[dict[str, Any]], *, sent_at: str, attempt: int = 0, gzipped: bool = False
    ) -> Request:
        try:
            _post(
                reveal(self.options.write_key),
                self.options.host,
                gzip=gzipped,
                retry_count=attempt,
                batch=list(items),
                sentAt=sent_at,
            )
        except _Built as built:
            return built.request
        raise AssertionError("Segment's package has posted nothing")


class _Built(Exception):  # noqa: N818 - not an error
    """Ends the package's ``post`` where it would send: with the request that it has built."""

    def __init__(self, request: Request) -> None:
        self.request = request


class _Builder(BaseAdapter):
    """In the place of the package's connections, which have no deadline and no limit for what they read."""

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> NoReturn:
        body = request.body
        assert isinstance(body, str | bytes), "the package sends its body at once"
        raise _Built(
            Request(
                url=str(request.url),
                body=body.encode() if isinstance(body, str) else body,
                headers={name: str(text) for name, text in request.headers.items() if name not in _OF_REQUESTS},
                method=str(request.method),
            )
        )

    def close(self) -> None:
        pass


def _post_that_builds() -> Callable[..., Any]:
    """The package's ``post``, with a session of our own in the place of the one that it shares with all its users.

    So it follows no redirect with the write key, and no ~/.netrc takes the place of the write key.
    """
    session = Session()
    session.trust_env = False
    session.mount("https://", _Builder())
    session.mount("http://", _Builder())
    return FunctionType(post.__code__, {**post.__globals__, "_session": session}, post.__name__, post.__defaults__)


_post: Final = _post_that_builds()
