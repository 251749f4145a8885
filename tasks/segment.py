"""Segment: events and direct calls as messages of its HTTP API, in requests of its batch endpoint.

messageId and timestamp are the event's own, so that Segment drops what it gets a second time.
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from requests import RequestException
from segment.analytics.request import APIError, post

from dispatcher.event import DIRECT_TYPES, Event, decode
from tasks.bisection import send_bisected
from tasks.destination import Batch, Destination, Options
from tasks.http_answer import outcome_of_error, outcome_of_status
from tasks.outcomes import DELIVERED, Dead, Outcome, RetryAfter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The package logs whole request bodies at DEBUG: what people did, with their ids and addresses. And each refusal as an
# error, which here is an outcome with a text of its own.
logging.getLogger("segment").setLevel(logging.CRITICAL)

# Bytes. Segment refuses a larger message (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/).
MAX_MESSAGE_BYTES: Final = 32_768
# Bytes. Segment takes 500 KB a request; the rest is left for what it may count otherwise.
MAX_REQUEST_BYTES: Final = 475_000
# Messages. What Segment's own libraries send at most; beyond 2 500 it answers 200 and drops them.
MAX_REQUEST_MESSAGES: Final = 100
# Bytes of a request that are not messages: sentAt, the keys and punctuation, and room for the write key.
_ENVELOPE_BYTES: Final = 512


class SegmentOptions(Options):
    """The settings of a Segment destination."""

    write_key: SecretStr | None = Field(default=None, description="The source's write key. Without one, events wait.")
    host: str = Field(default="https://api.segment.io", description="Where /v1/batch is: scheme and host.")
    gzip: bool = Field(default=False, description="Compress requests.")
    timeout_seconds: float = Field(default=10, gt=0, description="How long an answer may be silent.")
    connect_timeout_seconds: float = Field(default=3, gt=0, description="How long connecting may take.")
    properties: Literal["data", "edx"] = Field(
        default="data",
        description='What a track call has as properties: "data" is the event\'s data, "edx" the whole event with '
        "label, courserun_key and nonInteraction, as edX sends it.",
    )

    @field_validator("host")
    @classmethod
    def _is_a_plain_url(cls, host: str) -> str:
        url = urlsplit(host)
        # A user name in the URL would take the place of the write key in the Authorization header.
        if url.scheme not in {"http", "https"} or not url.hostname or "@" in url.netloc or url.query or url.fragment:
            raise ValueError("must be a scheme and a host, such as https://api.segment.io")
        if url.port == 0:
            raise ValueError("the port must be from 1 to 65535")
        return host


def _library() -> dict[str, str]:
    try:
        return {"name": "dispatcher", "version": version("dispatcher")}
    except PackageNotFoundError:  # Run from a checkout that was never installed.
        return {"name": "dispatcher"}


LIBRARY: Final = _library()

# What a direct call may say beside who and when, and where it puts its payload.
_CALL_KEYS: Final = ("event", "name", "category", "groupId", "previousId", "integrations")
_PAYLOAD_KEYS: Final = {
    "track": "properties",
    "page": "properties",
    "screen": "properties",
    "identify": "traits",
    "group": "traits",
}

# What opaque-keys takes for a course run: course-v1:org+course+run, ccx-v1:…+ccx@1, or the old org/course/run.
_COURSE_RUN: Final = re.compile(
    r"(?:course|ccx)-v1:[\w\-~.:]+\+[\w\-~.:]+\+[\w\-~.:]+(?:\+ccx@\d+)?|[\w\-~.:]+/[\w\-~.:]+/[\w\-~.:]+"
)


def to_message(event: Event, *, properties: Literal["data", "edx"] = "data") -> dict[str, Any]:
    """The message that an event becomes. Pure: the event and its dicts stay as they are."""
    direct = event.type in DIRECT_TYPES
    call = event.data if direct and isinstance(event.data, dict) else {}
    message: dict[str, Any] = {
        "type": event.type if direct else "track",
        "messageId": event.id,
        "timestamp": event.timestamp.isoformat().replace("+00:00", "Z"),
        **_who(event, call),
    }
    if direct:
        message |= _call(event, call)
    else:
        message["event"] = event.name
        message["properties"] = _edx_properties(event) if properties == "edx" else _as_object(event.data)
    message["context"] = _context(call.get("context"), event.context)
    return message


def _who(event: Event, call: dict[str, Any]) -> dict[str, str]:
    said = {key: found for key in ("userId", "anonymousId") if (found := _identity(call.get(key))) is not None}
    if said:
        return said
    if (user := _identity(event.context.get("user_id"))) is not None:
        return {"userId": user}
    for key in ("anonymous_id", "session", "client_id"):
        if (found := _identity(event.context.get(key))) is not None:
            return {"anonymousId": found}
    # Segment drops a message of nobody while it answers 200. The id stays the same when the event is sent again.
    return {"anonymousId": event.id}


def _identity(value: object) -> str | None:
    return str(value) if isinstance(value, (str, int, float)) and value != "" else None


def _call(event: Event, call: dict[str, Any]) -> dict[str, Any]:
    said = {key: call[key] for key in _CALL_KEYS if call.get(key) is not None}
    if event.type == "track":
        said.setdefault("event", event.name)
    if payload_key := _PAYLOAD_KEYS.get(event.type):
        said[payload_key] = _as_object(call.get(payload_key))
    return said


def _as_object(payload: object) -> dict[str, Any]:
    # Properties and traits are objects at Segment. edX's browser events may have text, a form as the page sent it.
    if isinstance(payload, dict):
        return payload
    return {} if payload is None else {"data": payload}


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


def _context(said: object, tracking: dict[str, Any]) -> dict[str, Any]:
    """The caller's context, filled from the tracking context where the caller said nothing."""
    context: dict[str, Any] = dict(said) if isinstance(said, dict) else {}
    for key, source in (("ip", "ip"), ("userAgent", "agent")):
        if found := _text(tracking, source):
            context.setdefault(key, found)
    _fill(context, "page", _page(tracking))
    if (client_id := _identity(tracking.get("client_id"))) is not None:
        _fill(context, "Google Analytics", {"clientId": client_id})
    context.setdefault("library", dict(LIBRARY))
    return context


def _page(tracking: dict[str, Any]) -> dict[str, Any]:
    path, host = _text(tracking, "path"), _text(tracking, "host")
    url = _text(tracking, "page")
    if url is None and path and host:
        url = f"https://{host}{'' if path.startswith('/') else '/'}{path}"
    found = {"path": path, "referrer": _text(tracking, "referer"), "url": url}
    return {key: value for key, value in found.items() if value}


def _text(tracking: dict[str, Any], key: str) -> str | None:
    value = tracking.get(key)
    return value if isinstance(value, str) and value else None


def _fill(context: dict[str, Any], key: str, found: dict[str, Any]) -> None:
    said = context.get(key, {})
    if found and isinstance(said, dict):
        context[key] = found | said


@dataclass(frozen=True, slots=True)
class _Message:
    position: int
    body: dict[str, Any]
    size_bytes: int


class Segment(Destination[SegmentOptions]):
    """Delivers to Segment. Its threads share ten kept-alive connections; further threads open one for each request."""

    Options = SegmentOptions

    def __init__(self, name: str, options: SegmentOptions) -> None:
        super().__init__(name, options)
        url = urlsplit(options.host)
        #: Where requests go, fit for messages: it holds neither path nor query.
        self._who = f"Segment at {url.netloc}"
        # A proxy from the environment cannot reach this machine's own sink.
        hostname = url.hostname or ""
        local = hostname in {"localhost", "::1"} or hostname.startswith("127.")
        self._proxies = {"no_proxy": hostname} if local else None

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch in as many requests as Segment's limits ask for, in order.

        A request that is refused for its contents is bisected, so that only the bad events are dead. After any other
        failure the next request would fare the same, so the rest of the batch is parked without being tried. What was
        sent before stays delivered. Blocks for at most one failing request beyond the others.
        """
        write_key = self.options.write_key.get_secret_value() if self.options.write_key is not None else ""
        if not write_key:
            return [self._no_write_key()] * len(batch.payloads)
        prepared = [self._prepare(position, payload) for position, payload in enumerate(batch.payloads)]
        outcomes: dict[int, Outcome] = {
            position: entry for position, entry in enumerate(prepared) if isinstance(entry, Dead)
        }
        send = partial(self._send, write_key, batch.attempt)
        failure: RetryAfter | None = None
        for request in _requests([entry for entry in prepared if isinstance(entry, _Message)]):
            found = [failure] * len(request) if failure is not None else send_bisected(request, send)
            failure = next((one for one in found if isinstance(one, RetryAfter)), None)
            outcomes |= {message.position: one for message, one in zip(request, found, strict=True)}
        return [outcomes[position] for position in range(len(prepared))]

    def _prepare(self, position: int, payload: bytes) -> _Message | Dead:
        try:
            event = decode(payload)
            body = to_message(event, properties=self.options.properties)
            # As post() will encode it: in ASCII, so that characters are bytes.
            size_bytes = len(json.dumps(body))
        except (ValueError, OverflowError, RecursionError) as error:
            return Dead("undecodable", f"a payload of {len(payload)} bytes is not an event: {type(error).__name__}")
        if size_bytes > MAX_MESSAGE_BYTES:
            return Dead(
                "oversized",
                f"event {event.id} makes a message of {size_bytes} bytes and Segment takes {MAX_MESSAGE_BYTES}: "
                "put less into its data",
            )
        return _Message(position, body, size_bytes)

    def _send(self, write_key: str, attempt: int, request: Sequence[_Message]) -> Outcome:
        try:
            response = post(
                write_key,
                self.options.host,
                gzip=self.options.gzip,
                timeout=(self.options.connect_timeout_seconds, self.options.timeout_seconds),
                proxies=self._proxies,
                retry_count=attempt,
                batch=[message.body for message in request],
                sentAt=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            )
        except APIError as error:
            # Only the status: the body of the answer may repeat what was sent.
            headers = {} if error.response is None else error.response.headers
            return outcome_of_status(int(error.status), who=self._who, retry_after=headers.get("Retry-After"))
        except RequestException as error:
            return outcome_of_error(
                error,
                who=self._who,
                connect_seconds=self.options.connect_timeout_seconds,
                answer_seconds=self.options.timeout_seconds,
            )
        if response.request.method != "POST":
            # A redirect turned the POST into a GET: its 200 says nothing of the events.
            return RetryAfter(
                f"{self._who} redirects elsewhere: set {self._variable('HOST')} to the final address", None, "setup"
            )
        return DELIVERED

    def _no_write_key(self) -> RetryAfter:
        return RetryAfter(
            f"Segment has no write key: set {self._variable('WRITE_KEY')} to the key of a source in Segment; "
            f"the events of {self.name!r} wait until then",
            None,
            "setup",
        )

    def _variable(self, option: str) -> str:
        return f"DISPATCHER_DESTINATIONS__{self.name.upper()}__{option}"


def _requests(messages: list[_Message]) -> Iterator[list[_Message]]:
    request: list[_Message] = []
    size_bytes = _ENVELOPE_BYTES
    for message in messages:
        # Two more for the comma and the blank between messages.
        grown = size_bytes + message.size_bytes + 2
        if request and (grown > MAX_REQUEST_BYTES or len(request) == MAX_REQUEST_MESSAGES):
            yield request
            request, grown = [], _ENVELOPE_BYTES + message.size_bytes + 2
        request.append(message)
        size_bytes = grown
    if request:
        yield request
