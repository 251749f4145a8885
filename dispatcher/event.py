"""Event: the envelope. It is encoded once, in emit, and decoded only by who needs its fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec

from dispatcher import wire

if not TYPE_CHECKING:
    # msgspec decodes a timestamp as the type that this name has as the module is imported. freezegun may have put its
    # own there by then, which is no type of JSON.
    datetime = wire.STANDARD["datetime"]

#: What an event is: ``event`` comes from ``tracker.emit``; ``dead`` is one that emit could not take, with its reason;
#: ``dropped`` is all that is left of one that a processor dropped, to be counted; the rest are Segment's own calls (https://segment.com/docs/connections/spec/).
EventType = Literal["event", "dead", "dropped", "track", "identify", "page", "screen", "group", "alias"]

#: Segment's calls, which go to Segment only.
DIRECT_TYPES: Final = frozenset({"track", "identify", "page", "screen", "group", "alias"})

#: A name is a constant in the code, not a sentence: Google Analytics takes 40 characters, edX's longest has 60.
MAX_NAME_CHARACTERS: Final = 255
#: UUIDs have 36; what others use as ids is shorter than this.
MAX_ID_CHARACTERS: Final = 100

# Where an event may name its user: the context of tracking, and what Segment's calls say.
_USER_KEYS: Final = ("user_id", "userId", "username", "anonymous_id", "anonymousId")


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

    # The order of the fields is the order on the wire (wire.py).
    id: str
    type: EventType = "event"
    name: str
    timestamp: datetime
    data: Any
    context: dict[str, Any]


def data_fields(event: Event) -> dict[str, Any]:
    """The event's data where it is an object; else an empty object, since text has no fields to ask for."""
    return event.data if isinstance(event.data, dict) else {}


def as_object(data: object) -> dict[str, Any]:
    """Data in the form that services take, of which most take objects only.

    An object stays as it is, and null becomes an empty one. Anything else, such as the form-encoded text of edX's
    browser events, stands under ``data``.
    """
    if isinstance(data, dict):
        return data
    return {} if data is None else {"data": data}


def users_of(event: Event) -> frozenset[str]:
    """What names the user of an event in its context or data, each as a person would type it."""
    places = [table for table in (event.context, event.data) if isinstance(table, dict)]
    return frozenset(str(table[key]) for table in places for key in _USER_KEYS if table.get(key) not in (None, ""))


def is_id(event_id: object) -> bool:
    """Whether it can be the id of an event."""
    # Only its type is asked: isinstance would have a lazy object look up what it stands for.
    if not issubclass(type(event_id), str):
        return False
    text = cast("str", event_id)
    return 0 < len(text) <= MAX_ID_CHARACTERS and text.isprintable()


_PLAIN: Final = wire.STANDARD["datetime"]
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """The event as compact JSON without a line break. Raises TypeError, ValueError or RecursionError."""
    return wire.encode_json(event)


def decode(payload: bytes) -> Event:
    """The event of a payload. Raises msgspec.DecodeError where it is not one, or says a field twice."""
    try:
        event = _decoder.decode(payload)
        wire.check_fields(payload)
        if event.timestamp.tzinfo is UTC:
            return event
        return msgspec.structs.replace(event, timestamp=to_utc(event.timestamp))
    except (UnicodeDecodeError, OverflowError) as error:  # text that is not UTF-8, a time that UTC does not reach
        raise msgspec.DecodeError(str(error)) from error


def to_utc(timestamp: datetime) -> datetime:
    """The same time, aware, in UTC and of the standard library's own type.

    A time without a zone is taken for UTC, as event-tracking does.

    Raises:
        OverflowError: It is before the year 1 or after the year 9999 in UTC.
        TypeError: It is not a time although its type is (pandas' NaT).
    """
    if type(timestamp) is _PLAIN and timestamp.tzinfo is UTC:
        return timestamp
    timestamp = wire.plain_datetime(timestamp)
    return timestamp.replace(tzinfo=UTC) if timestamp.tzinfo is None else timestamp.astimezone(UTC)


def utc_text(timestamp: datetime, timespec: str = "auto") -> str:
    """A time in UTC as RFC 3339 text that ends in ``Z``: services take that, and not all of them take ``+00:00``.

    Args:
        timestamp: Aware, in UTC.
        timespec: How exact, as of ``datetime.isoformat``; by default to the microsecond, unless that is 0.
    """
    return timestamp.isoformat(timespec=timespec).replace("+00:00", "Z")
