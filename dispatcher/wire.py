"""Wire: the bytes of a payload, which is one event as compact JSON. What stands where in it is known here alone.

    {"id":"…36 characters…","type":"event","name":"…","timestamp":"2026-…T…Z","data":{…},"context":{…}}

The fields stand in the order of ``Envelope``. The id comes first. An id of ours always has the same length, so that the
fields behind it begin at a known place; an event that brought its own id may look otherwise, and is decoded whole. The
context comes last, so that emit can copy a context that was encoded once a request, and others can replace it without
decoding the data. A payload has no line break, no zero byte and no byte 0x7F of its own: JSON escapes the first two,
and the third marks a trace (monitoring/traces.py). Only JSON that an app puts into its data as ``msgspec.Raw``
may bring blanks and line breaks.

Pure; safe in threads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, cast

import msgspec

#: Where an id of 36 characters ends, the length of a UUID (RFC 9562 §4).
ID_END: Final = len('{"id":"') + 36
#: How long a timestamp is as msgspec writes one with microseconds, in UTC. Without microseconds it is shorter.
TIMESTAMP_BYTES: Final = len("2026-01-01T00:00:00.000000Z")
# And without: 2026-01-01T00:00:00Z.
_TIMESTAMP_LENGTHS: Final = (TIMESTAMP_BYTES, TIMESTAMP_BYTES - len(".000000"))
#: What follows the id, the name and the timestamp, where the data is an object.
AFTER_ID: Final = b'","type":"'
AFTER_NAME: Final = b'","timestamp":"'
BEFORE_DATA: Final = b'","data":{'
#: What stands between the data and the context, and behind the context.
BEFORE_CONTEXT: Final = b',"context":'
AFTER_CONTEXT: Final = b"}"
_ENDING: Final = b"}" + AFTER_CONTEXT
_OPEN: Final = ord("{")
#: How msgspec writes None. It writes NaN and infinity so too, so that data with a null has to be looked into.
NULL: Final = b"null"
#: A byte that JSON may hold unescaped and that no text of ours holds, so that one look tells whether a mark is there.
RARE_BYTE: Final = 0x7F


def _make_plain_datetime(value: Any) -> object:
    fields = value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond
    return STANDARD["datetime"](*fields, value.tzinfo, fold=value.fold)


def _make_plain_time(value: Any) -> object:
    return STANDARD["time"](value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _make_plain_numpy_time(value: Any) -> object:
    # A finer unit than microseconds comes as a bare number, and NaT as None.
    plain = value.item()
    plain = value.astype(f"{type(value).__name__}[us]").item() if isinstance(plain, int) else plain
    if isinstance(plain, date | timedelta):
        return plain
    raise ValueError("it is no time")


#: The standard library's own types of times: freezegun puts others in the place of those that a module imports.
STANDARD: Final[dict[str, Any]] = {
    base.__name__: base
    for kind in (datetime, date, time, timedelta)
    for base in kind.__mro__
    if base.__module__ == "datetime"
}

# How a value of a subclass becomes one of a type that msgspec encodes, by the type that it is a subclass of. None of
# them asks the subclass for its own text.
_MAKE_PLAIN: Final[dict[object, Callable[[Any], object]]] = {
    str: str.__str__,
    bool: lambda value: "true" if value else "false",  # as a key only; json.dumps writes it so too
    int: int.__int__,
    float: float.__float__,
    Decimal: Decimal.__str__,
    bytes: lambda value: bytes(memoryview(value)),
    bytearray: lambda value: bytes(memoryview(value)),
    STANDARD["datetime"]: _make_plain_datetime,
    STANDARD["date"]: lambda value: STANDARD["date"](value.year, value.month, value.day),
    STANDARD["time"]: _make_plain_time,
    STANDARD["timedelta"]: lambda value: STANDARD["timedelta"].__add__(value, timedelta()),
    # Types of packages that need not be here, so by the names of their modules.
    ("numpy", "bool"): bool,
    ("numpy", "bool_"): bool,  # the same in numpy 1
    ("numpy", "integer"): int,
    ("numpy", "floating"): float,
    ("numpy", "datetime64"): _make_plain_numpy_time,
    ("numpy", "timedelta64"): _make_plain_numpy_time,
    ("django.utils.functional", "Promise"): str,  # text that is translated only when it is asked for
}


def json_fallback(value: object) -> object:
    """Give the encoder a plain value for one of a subclass of text, a number, bytes or a time, which msgspec refuses.

    numpy's scalars become numbers and times, and Django's lazy text becomes text. Only the type is looked at, so that
    a lazy object, such as Django's ``request.user``, is not evaluated by that.

    Raises:
        TypeError: It is of another type, or is not a time although its type is (pandas' NaT).
    """
    kind = type(value)
    for base in kind.__mro__:
        try:
            make_plain = _MAKE_PLAIN.get(base) or _MAKE_PLAIN.get((base.__module__, base.__name__))
        except Exception:  # noqa: S112 - a metaclass's own code; a type further up may be one that is known
            continue
        if make_plain is not None:
            try:
                return make_plain(value)
            except (TypeError, ValueError):
                break
    raise TypeError(f"Encoding objects of type {kind.__name__} is unsupported")


def plain_text(value: object) -> object:
    """A text of a subclass, such as a member of a StrEnum, as plain text; anything else as it is."""
    return str.__str__(cast("str", value)) if issubclass(type(value), str) else value


def plain_datetime(timestamp: datetime) -> datetime:
    """The same time as one of the standard library's own type, which a subclass may have changed.

    Raises:
        TypeError: It is not a time although its type is (pandas' NaT).
    """
    return timestamp if type(timestamp) is STANDARD["datetime"] else cast("datetime", json_fallback(timestamp))


#: Compact JSON of any value. Raises TypeError, ValueError or RecursionError for a value that has no JSON form.
encode_json: Final = msgspec.json.Encoder(enc_hook=json_fallback).encode


class Envelope(msgspec.Struct, gc=False):
    """An event whose context is JSON already. The order of the fields is their order in a payload."""

    id: str
    type: str
    name: str
    timestamp: datetime
    data: Any
    context: msgspec.Raw


#: Where the data of an event from ``tracker.emit`` begins at the earliest: behind an id of 36 characters, a name of one
#: and a time of whole seconds.
FIRST_DATA: Final = encode_json(
    Envelope("0" * 36, "event", "x", STANDARD["datetime"](2000, 1, 1, tzinfo=UTC), {}, msgspec.Raw(b"{}"))
).index(b"{", 1)


class _Fields(msgspec.Struct, gc=False):
    """The JSON of each field of a payload."""

    id: msgspec.Raw
    type: msgspec.Raw
    name: msgspec.Raw
    timestamp: msgspec.Raw
    data: msgspec.Raw
    context: msgspec.Raw


class Parts(msgspec.Struct, gc=False):
    """An event from ``tracker.emit`` whose data and context are JSON still."""

    id: str
    type: str
    name: str
    timestamp: str
    data: msgspec.Raw
    context: msgspec.Raw


_decode_fields: Final = msgspec.json.Decoder(_Fields).decode
_decode_parts: Final = msgspec.json.Decoder(Parts).decode
_FIELDS: Final = frozenset(_Fields.__struct_fields__)
_AROUND_FIELDS: Final = len('{"id":,"type":,"name":,"timestamp":,"data":,"context":}')
# The quotes of the four texts come to that.
_AROUND_PARTS: Final = _AROUND_FIELDS + 8


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


def data_end(context_bytes: int) -> int:
    """Where the data ends in a payload with a context of that size, counted from the end of the payload."""
    return -(len(BEFORE_CONTEXT) + context_bytes + len(AFTER_CONTEXT))


def replace_context(payload: bytes, context: bytes, replacement: bytes) -> bytes | None:
    """The payload with another context. None where it does not end with ``context``.

    Args:
        context: The context as it stands in the payload.
        replacement: A JSON object.
    """
    ending = context + AFTER_CONTEXT
    return payload[: -len(ending)] + replacement + AFTER_CONTEXT if payload.endswith(ending) else None


def add_to_context(payload: bytes, member: bytes) -> bytes:
    """The payload with one more member at the end of its context.

    Args:
        payload: With a context as emit encodes it.
        member: A name that the context does not have, and its value, as JSON.
    """
    return payload[:-2] + (member if payload[-3] == _OPEN else b"," + member) + _ENDING


def on_one_line(payload: bytes) -> bytes:
    """The payload without line breaks, which it has only where an app put JSON into the data as ``msgspec.Raw``."""
    return payload if b"\n" not in payload else msgspec.json.format(payload, indent=-1)


def trim(text: bytes) -> bytes:
    """What was written of a file that was allocated as zeros: a payload never ends in a zero byte."""
    return text.rstrip(b"\0")


def split(payload: bytes) -> Parts | None:
    """The parts of a payload as emit writes it, each there once; several times faster than to decode it whole.

    Returns:
        None where it may look otherwise: a direct call, text with escapes or beyond ASCII in the id or name, a
        timestamp of another form, a field too many or too few.

    Raises:
        ValueError, RecursionError: It is not an event.
    """
    try:
        parts = _decode_parts(payload)
    except msgspec.ValidationError:  # a field is missing, which may have a default
        return None
    timestamp = parts.timestamp
    # A text is never shorter in JSON than it is, so that equal sizes leave no room for anything else.
    sizes = len(parts.id) + len(parts.type) + len(parts.name) + len(timestamp) + len(parts.data) + len(parts.context)
    if sizes + _AROUND_PARTS != len(payload) or parts.type != "event":
        return None
    is_usual = len(timestamp) in _TIMESTAMP_LENGTHS and timestamp[-1] == "Z" and timestamp[10] == "T"
    return parts if is_usual else None


def check_fields(payload: bytes) -> None:
    """Check that a payload has each field once, and no unknown field behind its data.

    An app may put JSON that it was sent into its data unread, as ``msgspec.Raw``. Text such as
    ``1},"name":"x","y":{"z":1`` would end the data there and give the event another name when it is decoded.

    Raises:
        msgspec.DecodeError: It has a field twice, or an unknown one behind the data, or is not JSON.
    """
    try:
        fields = _decode_fields(payload)
        sizes = len(fields.id) + len(fields.type) + len(fields.name) + len(fields.timestamp)
        # Anything else would take room, even a blank.
        if sizes + len(fields.data) + len(fields.context) + _AROUND_FIELDS == len(payload):
            return
    except msgspec.ValidationError:  # a field is missing, which may have a default
        pass
    try:
        # An object becomes a list of pairs; the last one to be made is the payload itself.
        names = [name for name, _ in json.loads(payload, object_pairs_hook=list)]
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from error
    if len(set(names)) < len(names):
        raise msgspec.DecodeError("a field of the event is there twice: JSON in its data or context ends too early")
    # A field that a later version adds has to stand before the data, where no JSON of an app can precede it.
    if "data" in names and not _FIELDS.issuperset(names[names.index("data") :]):
        raise msgspec.DecodeError("an unknown field follows the data: JSON in the data or context ends too early")
