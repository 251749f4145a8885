"""Event: the envelope. It is encoded once, in emit, and decoded only by who needs its fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

#: What an event is: ``event`` comes from ``tracker.emit``; ``dead`` is one that emit could not take, with its reason;
#: ``dropped`` is all that is left of one that a processor dropped, to be counted; the rest are Segment's own calls (https://segment.com/docs/connections/spec/).
EventType = Literal["event", "dead", "dropped", "track", "identify", "page", "screen", "group", "alias"]

#: Segment's calls, which go to Segment only.
DIRECT_TYPES: Final = frozenset({"track", "identify", "page", "screen", "group", "alias"})


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Args:
        id: A UUID of version 7 (RFC 9562), which becomes Segment's messageId.
        type: What kind of event it is.
        name: Such as ``edx.course.enrollment.activated``.
        timestamp: When emit was called: aware, UTC, to the microsecond.
        data: The payload. A dict; for edX's browser events it may be the form-encoded text that the page sent.
        context: Who, where and in which course, as bound when emit was called.
    """

    # The order of the fields is the order on the wire. The router reads type and name without decoding the rest.
    id: str
    type: EventType = "event"
    name: str
    timestamp: datetime
    data: Any
    context: dict[str, Any]


def plain(value: object) -> object:
    """What msgspec does not know and JSON does: a str, int or float of a subclass. For ``enc_hook``."""
    # Django marks text as safe by a subclass of str, and numpy's float64 is one of float.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):  # as a key only; json.dumps writes it so too
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encoder = msgspec.json.Encoder(enc_hook=plain)
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """The event as compact JSON without a line break. Raises TypeError, ValueError or RecursionError."""
    return _encoder.encode(event)


def decode(payload: bytes) -> Event:
    """The event of a payload. Raises msgspec.DecodeError where it is not one."""
    try:
        event = _decoder.decode(payload)
        if event.timestamp.tzinfo is UTC:
            return event
        return msgspec.structs.replace(event, timestamp=_utc(event.timestamp))
    except (UnicodeDecodeError, OverflowError) as error:  # text that is no UTF-8, a time that is none in UTC
        raise msgspec.DecodeError(str(error)) from error


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
