"""A line of a tracking log becomes the event that it was made of, as far as the log holds it. Pure.

The lines of this package's own log are read in all of its formats, and those that edX's own logger wrote.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from dispatcher.edx_log.renamed import undo
from dispatcher.event import MAX_NAME_CHARACTERS, Event, is_id, to_utc

# What edX's log moves out of the context to the top of a line, and fills with "" where the context has it not.
_REQUEST_FIELDS: Final = ("username", "session", "ip", "agent", "host", "referer", "accept_language")
_ID_KEY: Final = "event_id"

_decode_json: Final = msgspec.json.Decoder().decode
_encode_json: Final = msgspec.json.Encoder().encode


class UnreadableLineError(ValueError):
    """The line is no event; says why."""


def read_line(line: bytes) -> Event:
    """The event of a line, of whichever format.

    Its id is the one that the line holds, else one made of the line's JSON, and so the same whenever it is read.

    Raises:
        UnreadableLineError: It is damaged, or no line of a tracking log.
    """
    body = _body(line)
    record = _object(body)
    try:
        event = _whole(record) if "data" in record and "event_type" not in record else _from_edx(record, body)
        _encode_json(event)
    except (msgspec.MsgspecError, OverflowError, RecursionError, UnicodeEncodeError, TypeError) as error:
        raise UnreadableLineError(f"it is no event that could be sent: {error}") from error
    if (
        not isinstance(event.name, str)
        or not 0 < len(event.name) <= MAX_NAME_CHARACTERS
        or not event.name.isprintable()
    ):
        raise UnreadableLineError(f"its name is not 1 to {MAX_NAME_CHARACTERS} printable characters")
    return event


def derived_id(body: bytes) -> str:
    """The id of an event whose line has none: a UUID of version 8 (RFC 9562 §5.8), from a hash of the line's JSON."""
    digest = bytearray(hashlib.sha256(body).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(UUID(bytes=bytes(digest)))


def _body(line: bytes) -> bytes:
    """The JSON of a line, without what syslog or Python's logging put before it."""
    start = line.find(b"{")
    if start < 0:
        raise UnreadableLineError("there is no JSON object in it")
    return line[start:].strip()


def _object(body: bytes) -> dict[str, Any]:
    try:
        record = _decode_json(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # Python's logger writes NaN, which is no JSON to others.
        record = _python_json(body)
    if not isinstance(record, dict):
        raise UnreadableLineError("it is no JSON object")
    return record


def _python_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableLineError(f"it is not JSON: {error}") from error


def _whole(record: dict[str, Any]) -> Event:
    """A line of format ``event``: all of it is there."""
    event = msgspec.convert(record, Event)
    if event.type != "event" or not is_id(event.id):
        raise UnreadableLineError("it has no usable id, or is no event of tracker.emit")
    return msgspec.structs.replace(event, timestamp=to_utc(event.timestamp))


def _from_edx(record: dict[str, Any], body: bytes) -> Event:
    name = record.get("name", record.get("event_type"))
    if not isinstance(name, str):
        raise UnreadableLineError("it has neither a name nor an event_type")
    context = _context(record)
    data = _data(record.get("event"))
    event_type = record.get("event_type", name)
    renamed = isinstance(data, dict) and isinstance(event_type, str) and undo(name, event_type, data, context)
    if event_type != name and not renamed:
        context["event_type"] = event_type
    return Event(
        id=_own_id(context) or derived_id(body),
        name=name,
        timestamp=_moment(record.get("time")),
        data=data,
        context=context,
    )


def _context(record: dict[str, Any]) -> dict[str, Any]:
    found = record.get("context")
    context: dict[str, Any] = dict(found) if isinstance(found, dict) else {}
    # An event of a request has some of them. One of none has them all empty, since it was emitted without them.
    if any(record.get(key) for key in _REQUEST_FIELDS):
        context |= {key: record[key] for key in _REQUEST_FIELDS if key in record}
    if record.get("event_source", "server") != "server":
        context["event_source"] = record["event_source"]
    if record.get("page") is not None:
        context["page"] = record["page"]
    # An app's events say themselves when they happened, and their line has that time and no other.
    if record.get("event_source") == "mobile" and "received_at" in context and "time" in record:
        context["timestamp"] = record["time"]
    return context


def _data(event: Any) -> Any:
    """What a browser sent is text in the line; so is what older versions of edX logged of apps and requests."""
    if event is None:
        return {}
    if not isinstance(event, str):
        return event
    try:
        data = _decode_json(event)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return event
    return data if isinstance(data, dict) else event


def _own_id(context: dict[str, Any]) -> str | None:
    # With ids = true the log writes it there. What somebody else may keep under that key need not be unique.
    try:
        own = str(UUID(context[_ID_KEY]))
    except (KeyError, ValueError, AttributeError, TypeError):
        return None
    if own != context[_ID_KEY]:
        return None
    del context[_ID_KEY]
    return own


def _moment(text: Any) -> datetime:
    if not isinstance(text, str):
        raise UnreadableLineError("it has no time")
    try:
        return to_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise UnreadableLineError(f"its time {text[:40]!r} is none: {error}") from error
