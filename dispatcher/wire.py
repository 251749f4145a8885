"""Wire: the bytes of a payload, which is one event as compact JSON. What stands where in it is known here alone.

    {"id":"…36 characters…","type":"event","name":"…","timestamp":"2026-…T…Z","data":{…},"context":{…}}

The fields stand in the order of ``Envelope``. The id comes first and, made by us, always has the same length, so the
fields behind it begin at a known place; an event that brought its own id may look otherwise, and is decoded whole. The
context comes last, so that one which is encoded once a request is copied into each event, and replaced without decoding
the data. JSON text has no line break, no zero byte and no byte 0x7F of its own: writers escape the first two, and the
third marks a trace (monitoring/sentry/traces.py).

Pure; safe in threads.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from dispatcher.event import EventType, plain

#: Where an id of 36 characters ends, the length of a UUID (RFC 9562 §4).
ID_END: Final = len('{"id":"') + 36
#: How long a timestamp is as msgspec writes one with microseconds, in UTC.
TIMESTAMP_BYTES: Final = len("2026-01-01T00:00:00.000000Z")
#: What follows the id, the name and the timestamp, where the data is an object.
AFTER_ID: Final = b'","type":"'
AFTER_NAME: Final = b'","timestamp":"'
BEFORE_DATA: Final = b'","data":{'
#: What stands between the data and the context, and behind the context.
BEFORE_CONTEXT: Final = b',"context":'
AFTER_CONTEXT: Final = b"}"
#: A byte that JSON may hold unescaped and that no text of ours holds, so that one look tells whether a mark is there.
RARE_BYTE: Final = 0x7F


class Envelope(msgspec.Struct, gc=False):
    """An event whose context is JSON already. The order of the fields is their order on the wire."""

    id: str
    type: EventType
    name: str
    timestamp: datetime
    data: Any
    context: msgspec.Raw


#: The payload of an envelope. Raises TypeError, ValueError or RecursionError for data that JSON has no form for.
encode_envelope: Final = msgspec.json.Encoder(enc_hook=plain).encode


def head(payload: bytes) -> bytes:
    """What stands between the id and the time, which is the type and the name as JSON.

    It is one event's own only where ``is_head`` says so: behind an id of another length it begins in the middle.
    """
    return payload[ID_END : payload.find(AFTER_NAME, ID_END)]


def is_head(text: bytes) -> bool:
    """Whether a head is whole, so that payloads with the same head have the same type and name."""
    return text.startswith(AFTER_ID)


def encode_head(name: bytes) -> bytes:
    """The head of an event from ``tracker.emit`` and all up to its timestamp. ``name`` is a JSON string."""
    return b'","type":"event","name":' + name + b',"timestamp":"'


def replace_context(payload: bytes, context: bytes, replacement: bytes) -> bytes | None:
    """The payload with another context. None where it does not end with ``context``.

    Args:
        context: The context as it stands in the payload.
        replacement: A JSON object.
    """
    ending = context + AFTER_CONTEXT
    return payload[: -len(ending)] + replacement + AFTER_CONTEXT if payload.endswith(ending) else None


def trim(text: bytes) -> bytes:
    """What was written of a file that was allocated as zeros: a payload never ends in a zero byte."""
    return text.rstrip(b"\0")
