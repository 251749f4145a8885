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

from dispatcher.edx_log.edx_line import ID_KEY
from dispatcher.edx_log.legacy import from_legacy
from dispatcher.event import MAX_NAME_CHARACTERS, Event, is_id, to_utc

# What edX's log moves out of the context to the top of a line, and fills with "" where the context does not have it.
_REQUEST_FIELDS: Final = ("username", "session", "ip", "agent", "host", "referer", "accept_language")

# Where a UUID has its version (RFC 9562 §4.2).
_UUID_CHARACTERS: Final = 36
_VERSION_AT: Final = 14

_decode_json: Final = msgspec.json.Decoder().decode
_encode_json: Final = msgspec.json.Encoder().encode


class UnreadableLineError(ValueError):
    """The line holds no readable event; says why."""


def read_line(line: bytes) -> Event:
    """The event of a line of any format.

    Its id is the one that the line holds, else one derived from the line's JSON, and so the same in every reading.

    Raises:
        UnreadableLineError: The line is damaged, or does not come from a tracking log.
    """
    # Syslog and Python's logging put something before the JSON.
    start = line.find(b"{")
    if start < 0:
        raise UnreadableLineError("it holds no JSON object")
    body = line[start:].strip()
    record = _decode_object(body)
    try:
        event = _from_event(record) if "data" in record and "event_type" not in record else _from_edx(record, body)
        _encode_json(event)
    except (msgspec.MsgspecError, OverflowError, RecursionError, UnicodeEncodeError, TypeError) as error:
        raise UnreadableLineError(f"its event could not be sent: {error}") from error
    if not 0 < len(event.name) <= MAX_NAME_CHARACTERS or not event.name.isprintable():
        raise UnreadableLineError(f"its name is not 1 to {MAX_NAME_CHARACTERS} printable characters")
    return event


def derived_id(body: bytes) -> str:
    """The id of an event whose line has none: a UUID of version 8 (RFC 9562 §5.8), from a hash of the line's JSON."""
    digest = bytearray(hashlib.sha256(body).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_derived(event_id: str) -> bool:
    """Whether an id is one of ``derived_id``. Emit makes ids of version 7."""
    return len(event_id) == _UUID_CHARACTERS and event_id[_VERSION_AT] == "8"


def _decode_object(body: bytes) -> dict[str, Any]:
    try:
        record = _decode_json(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            # Python's logger writes NaN, which other decoders refuse.
            record = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UnreadableLineError(f"it is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise UnreadableLineError("it is not a JSON object")
    return record


def _from_event(record: dict[str, Any]) -> Event:
    """The event of a line of format ``event``, which holds all of it."""
    event = msgspec.convert(record, Event)
    if event.type != "event" or not is_id(event.id):
        raise UnreadableLineError("it has no usable id, or does not come from tracker.emit")
    return msgspec.structs.replace(event, timestamp=to_utc(event.timestamp))


def _from_edx(record: dict[str, Any], body: bytes) -> Event:
    name = record.get("name", record.get("event_type"))
    if not isinstance(name, str):
        raise UnreadableLineError("it has neither a name nor an event_type")
    context = _restore_context(record)
    # Some of edX's pipelines write the data under the name that it has in the event.
    data = _restore_data(record["event"] if "event" in record else record.get("data"))
    event_type = record.get("event_type", name)
    is_legacy = isinstance(data, dict) and isinstance(event_type, str) and from_legacy(name, event_type, data, context)
    if event_type != name and not is_legacy:
        context["event_type"] = event_type
    return Event(
        id=_take_id(context) or derived_id(body),
        name=name,
        timestamp=_parse_timestamp(record.get("time")),
        data=data,
        context=context,
    )


def _restore_context(record: dict[str, Any]) -> dict[str, Any]:
    logged = record.get("context")
    context: dict[str, Any] = dict(logged) if isinstance(logged, dict) else {}
    # An event of a request has some of these. Another event was emitted without them, and its line has all of them
    # empty.
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


def _restore_data(event: Any) -> Any:
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


def _take_id(context: dict[str, Any]) -> str | None:
    """The event's own id, taken out of the context, where the log writes it unless ``ids = false``."""
    # What somebody else may keep under that key need not be unique.
    try:
        own_id = str(UUID(context[ID_KEY]))
    except (KeyError, ValueError, AttributeError, TypeError):
        return None
    if own_id != context[ID_KEY]:
        return None
    del context[ID_KEY]
    return own_id


def _parse_timestamp(text: Any) -> datetime:
    if not isinstance(text, str):
        raise UnreadableLineError("it has no time")
    try:
        return to_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise UnreadableLineError(f"its time {text[:40]!r} is not a timestamp: {error}") from error
