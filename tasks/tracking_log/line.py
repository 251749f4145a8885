"""A line of the tracking log from an event's payload: pure, and the same bytes whenever and wherever it is made.

``edx`` is to the byte what edX's logger writes, which is Python's ``json.dumps`` with its defaults. msgspec is several
times faster and differs in three things only, which are mended here: spacing, text beyond ASCII, and odd floats. Data
that holds no odd float is not even decoded, but stands in the line as it came; and what follows from the context alone
is made once for all the events of a request.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import msgspec

from tasks.tracking_log.legacy import PREFIXES, rename

if TYPE_CHECKING:
    from collections.abc import Callable

Format = Literal["edx", "tutor", "event"]

#: What a payload that cannot be made into a line raises.
UNDECODABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)

_BEYOND_ASCII: Final = re.compile("[\x7f-\U0010ffff]+")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)")
# What may stand in a Tutor prefix: readers take everything from the first brace on for the event.
_PLAIN: Final = re.compile(r"[\w.:@+-]+", re.ASCII)


class _Envelope(msgspec.Struct, gc=False):
    id: str
    name: str
    timestamp: str
    data: Any
    context: dict[str, Any]


class _ClosedEnvelope(msgspec.Struct, gc=False):
    name: str
    timestamp: str
    data: msgspec.Raw
    context: msgspec.Raw


class _Frame(NamedTuple):
    """All of a line that follows from its context alone, which the events of one request share."""

    before_event: bytes
    #: None where the event's name says it.
    event_type: bytes | None
    after_event_type: bytes
    is_browser: bool


class _Line(msgspec.Struct, gc=False):
    # The order in which edX's processors happen to leave the fields.
    name: str
    context: dict[str, Any]
    username: Any
    session: Any
    ip: Any
    agent: Any
    host: Any
    referer: Any
    accept_language: Any
    event: Any
    time: Any
    event_type: Any
    event_source: Any
    page: Any


class _OddFloat(float):
    """A float that msgspec writes otherwise than Python does: 1e16 for 1e+16, 0.00001 for 1e-05."""


def _float(literal: str) -> float:
    value = float(literal)
    return value if 1e-4 <= abs(value) < 1e16 or value == 0 else _OddFloat(value)


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(float.__repr__(value).encode())


_decode: Final = msgspec.json.Decoder(_Envelope, float_hook=_float).decode
_decode_closed: Final = msgspec.json.Decoder(_ClosedEnvelope).decode
_decode_context: Final = msgspec.json.Decoder(dict[str, Any], float_hook=_float).decode
# How msgspec writes the floats that Python writes otherwise: with an exponent, or with four zeros behind the point.
_DIGITS_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_BEFORE_EXPONENT: Final = b"0e"
_FOUR_ZEROS: Final = b"0.0000"
# The fields of a line that its context decides, on either side of those that the event does.
_BEFORE_EVENT: Final = ("context", "username", "session", "ip", "agent", "host", "referer", "accept_language")
_AFTER_EVENT_TYPE: Final = ("event_source", "page")
_AFTER_NUMBER: Final = (b",", b"}", b"]")
_encode: Final = msgspec.json.Encoder(enc_hook=_raw).encode
_space: Final = msgspec.json.format


def renderer(line_format: Format, *, ids: bool = False) -> Callable[[bytes], bytes]:
    """The function that makes a payload into a line, without the line break. It raises one of ``UNDECODABLE``.

    Args:
        line_format: ``edx`` is the bare JSON object; ``tutor`` has the prefix that Tutor's logging puts before it;
            ``event`` is the payload itself.
        ids: Whether the event's id goes into the line's context, as ``event_id``.
    """
    if line_format == "event":
        return _event
    if line_format == "edx" and not ids:
        return _edx
    prefix = _tutor_prefix if line_format == "tutor" else None

    def render(payload: bytes) -> bytes:
        envelope = _decode(payload)
        # Read before the mapping empties the context.
        before = b"" if prefix is None else prefix(envelope)
        if ids:
            envelope.context["event_id"] = envelope.id
        return before + _json(envelope)

    return render


def _edx(payload: bytes) -> bytes:
    """The line put together from the parts of the payload, where that gives the same bytes as decoding it all does."""
    closed = _decode_closed(payload)
    frame = _frame(bytes(closed.context))
    data = bytes(closed.data)
    name = closed.name
    if (
        frame is None
        or not data.startswith(b"{")
        or _FOUR_ZEROS in data
        or _has_exponent(data)
        or name.startswith(PREFIXES)
    ):
        return _json(_decode(payload))
    event = _escaped(_space(data, indent=0))
    named = _dumped_name(name)
    return b"".join(
        (
            b'{"name": ',
            named,
            frame.before_event,
            _dump(event.decode()) if frame.is_browser else event,
            b', "time": "',
            _isoformat(closed.timestamp).encode(),
            b'", "event_type": ',
            frame.event_type or named,
            frame.after_event_type,
        )
    )


def _event(payload: bytes) -> bytes:
    _decode(payload)
    return payload if b"\n" not in payload else _space(payload, indent=-1)


# Contexts and names come from users: the caches have an end.
@lru_cache(maxsize=2048)
def _frame(context: bytes) -> _Frame | None:
    """The frame of a context; None for a mobile event, whose line has a time of its own."""
    decoded = _decode_context(context)
    if "timestamp" in decoded:
        return None
    line = msgspec.structs.asdict(_map(_Envelope("", "", "1970-01-01T00:00:00Z", {}, dict(decoded))))
    before = [b", " + _member(key, line[key]) for key in _BEFORE_EVENT]
    after = [b", " + _member(key, line[key]) for key in _AFTER_EVENT_TYPE]
    return _Frame(
        before_event=b"".join(before) + b', "event": ',
        event_type=_dump(decoded["event_type"]) if "event_type" in decoded else None,
        after_event_type=b"".join(after) + b"}",
        is_browser=line["event_source"] == "browser",
    )


def _member(key: str, value: Any) -> bytes:
    return f'"{key}": '.encode() + _dump(value)


@lru_cache(maxsize=2048)
def _dumped_name(name: str) -> bytes:
    return _dump(name)


def _has_exponent(data: bytes) -> bool:
    """Whether a number of compact JSON may have an exponent. Half of all ids in hexadecimal look so at first."""
    # Two passes in C are five times faster than one regular expression.
    digits = data.translate(_DIGITS_TO_ZERO)
    at = digits.find(_BEFORE_EXPONENT)
    while at >= 0:
        # An exponent has a sign or none and up to three digits, and a number ends where its list or object goes on.
        rest = digits[at + 2 : at + 7].lstrip(b"-0")
        if rest[:1] in _AFTER_NUMBER:
            return True
        at = digits.find(_BEFORE_EXPONENT, at + 2)
    return False


def _tutor_prefix(envelope: _Envelope) -> bytes:
    user, address = _plain(envelope.context.get("user_id")), _plain(envelope.context.get("ip"))
    moment = _isoformat(envelope.timestamp)
    milliseconds = moment[20:23] if moment[19] == "." else "000"
    # The emitting process is not known here and the worker would differ from one rendering to the next: it is 0.
    second = _local_second(moment[:19])
    return f"{second},{milliseconds} INFO 0 [tracking] [user {user}] [ip {address}] logger.py:41 - ".encode()


def _json(envelope: _Envelope) -> bytes:
    line = _map(envelope)
    if line.name.startswith(PREFIXES) and _apply_rename(line):
        # The rules may have computed numbers, which the decoder has not seen.
        return json.dumps(msgspec.structs.asdict(line)).encode()
    return _dump(line)


def _map(envelope: _Envelope) -> _Line:
    """edX's mapping of the fields that its older readers expect at the top; empties the context of them."""
    context = envelope.context
    pop = context.pop
    name = envelope.name
    source = pop("event_source", "server")
    # edX's tracker takes every empty value for no data.
    event = envelope.data or {}
    if source == "browser" and type(event) is dict:
        event = _dump(event).decode()
    if "client_id" in context:
        del context["client_id"]
    return _Line(
        name,
        context,
        pop("username", ""),
        pop("session", ""),
        pop("ip", ""),
        pop("agent", ""),
        pop("host", ""),
        pop("referer", ""),
        pop("accept_language", ""),
        event,
        _device_time(context) if "timestamp" in context else _isoformat(envelope.timestamp),
        pop("event_type", name),
        source,
        pop("page", None),
    )


def _apply_rename(line: _Line) -> bool:
    renamed = rename(line.name, line.event, line.context)
    if renamed is not None:
        line.name = renamed.name
        line.event = renamed.event
        line.event_type = line.event_type if renamed.event_type is None else renamed.event_type
        line.page = line.page if renamed.page is None else renamed.page
    return renamed is not None


def _dump(value: Any) -> bytes:
    """The same bytes as ``json.dumps(value).encode()``."""
    return _escaped(_space(_encode(value), indent=0))


def _escaped(dumped: bytes) -> bytes:
    """JSON with everything beyond ASCII escaped, as ``json.dumps`` has it."""
    if dumped.isascii() and b"\x7f" not in dumped:
        return dumped
    return _BEYOND_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], dumped.decode()).encode()


def _device_time(context: dict[str, Any]) -> Any:
    """The time that a mobile event says of itself. edX holds it, and when it was received, as datetimes."""
    if "received_at" in context:
        context["received_at"] = _normal(context["received_at"])
    return _normal(context.pop("timestamp"))


def _normal(moment: Any) -> Any:
    if not isinstance(moment, str) or not _MOMENT.fullmatch(moment):
        return moment
    try:
        return _isoformat(moment)
    except (ValueError, OverflowError):
        return moment


def _isoformat(timestamp: str) -> str:
    """A moment as ``datetime.isoformat`` writes it in UTC: ``+00:00`` for Z, no fraction where it is zero."""
    if timestamp[-1:] == "Z" and (len(timestamp) == 20 or (len(timestamp) == 27 and timestamp[-7:] != "000000Z")):
        return timestamp[:-1] + "+00:00"
    moment = datetime.fromisoformat(timestamp)
    return (moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat()


@lru_cache(maxsize=4096)
def _local_second(second: str) -> str:
    """A second of UTC in this machine's time zone, as Python's logging writes it."""
    return datetime.fromisoformat(second + "+00:00").astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else None
