"""A line of the tracking log from an event's payload: pure, and the same bytes whenever and wherever it is made.

``edx`` is to the byte what edX's logger writes, which is Python's ``json.dumps`` with its defaults. msgspec is several
times faster and differs in three things only, which are mended here: spacing, text beyond ASCII, and odd floats. Data
that holds no odd float is not even decoded, but stands in the line as it came; and what follows from the context alone
is made once for all the events of a request.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import UNSET

from dispatcher.edx_log.legacy import PREFIXES, rename
from dispatcher.edx_log.python_json import as_python_writes
from dispatcher.event import to_utc
from dispatcher.wire import (
    AFTER_CONTEXT,
    BEFORE_CONTEXT,
    BEFORE_DATA,
    ID_END,
    TIMESTAMP_BYTES,
    check_fields,
    encode_head,
    on_one_line,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Format = Literal["edx", "tutor", "event"]

#: What a payload that cannot be made into a line raises.
DECODING_ERRORS: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)")
# What may stand in a Tutor prefix: readers take everything from the first brace on for the event.
_PLAIN: Final = re.compile(r"[\w.:@+-]+", re.ASCII)


class _Envelope(msgspec.Struct, gc=False):
    id: str
    name: str
    timestamp: str
    data: Any
    context: dict[str, Any]


class _HalfOpen(msgspec.Struct, gc=False):
    name: str
    timestamp: str
    data: msgspec.Raw
    context: msgspec.Raw


class _Frame(msgspec.Struct, gc=False):
    """What of a line follows from its context alone, which the events of one request share."""

    after_name: bytes
    #: Where the context says it. Otherwise it is the event's name.
    event_type: bytes | None
    after_event_type: bytes
    is_browser: bool


class _Line(msgspec.Struct, gc=False):
    # The order in which edX's processors happen to leave the fields. What is UNSET is left out.
    name: Any
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
_decode_half: Final = msgspec.json.Decoder(_HalfOpen).decode
_decode_context: Final = msgspec.json.Decoder(dict[str, Any], float_hook=_float).decode
# How msgspec writes the floats that Python writes otherwise: with an exponent, or with four zeros behind the point.
_TO_ZERO: Final = bytes.maketrans(b"123456789-", b"0000000000")
# An exponent is of two digits at least, or has a sign before it.
_EXPONENT: Final = b"0e00"
_FOUR_ZEROS: Final = b"0.0000"
_AFTER_NUMBER: Final = (b",", b"}", b"]")
# How a timestamp in UTC ends.
_ZULU: Final = ord("Z")
# From the end of the timestamp to the first byte of the data.
_TO_DATA: Final = BEFORE_DATA.index(b"{")
_AROUND_CONTEXT: Final = len(BEFORE_CONTEXT) + len(AFTER_CONTEXT)
_AFTER_EVENT_TYPE: Final = b', "event_source": '
_NO_FRAME: Final = _Frame(b"", None, b"", is_browser=False)
# Names that are remembered; they come from users, so there has to be an end to them.
_MAX_NAMES: Final = 10_000
_encode: Final = msgspec.json.Encoder(enc_hook=_raw).encode


def renderer(line_format: Format, *, ids: bool = False) -> Callable[[bytes], bytes]:
    """The function that makes a payload into a line, without the line break. It raises one of ``DECODING_ERRORS``.

    Args:
        line_format: ``edx`` is the bare JSON object; ``tutor`` has the prefix that Tutor's logging puts before it;
            ``event`` is the payload itself.
        ids: Whether the event's id goes into the line's context, as ``event_id``.
    """
    if line_format == "event":
        return _event
    if line_format == "edx" and not ids:
        return _EdxLines().render
    prefix = _tutor_prefix if line_format == "tutor" else None

    def render(payload: bytes) -> bytes:
        envelope = _whole(payload)
        # Read before the mapping empties the context.
        before = b"" if prefix is None else prefix(envelope)
        if ids:
            envelope.context["event_id"] = envelope.id
        return before + _json(envelope)

    return render


class _EdxLines:
    """Renders one payload after another, and remembers what neighbours have in common. Safe for threads."""

    __slots__ = ("_latest", "_names")

    def __init__(self) -> None:
        # How the payload before this one ended, and what its context makes of a line. There is one as soon as there is
        # a name.
        self._latest = (b"", _NO_FRAME)
        # The names as they stand in lines, by what stands between an event's id and its time.
        self._names: dict[bytes, bytes] = {}

    def render(self, payload: bytes) -> bytes:
        """The line put together from the parts of the payload, where that gives the bytes that decoding it all does.

        Most events have a name that was seen before and the context of the event before: of these only the data is
        looked at. What is remembered was decoded once, so that a payload which matches it is what it looks like.
        """
        ending, frame = self._latest
        data_at = payload.find(BEFORE_DATA, ID_END)
        named = self._names.get(payload[ID_END : data_at - TIMESTAMP_BYTES])
        if named is None or not payload.endswith(ending):
            return self._render_new(payload, named, data_at + _TO_DATA)
        data = payload[data_at + _TO_DATA : -len(ending)]
        moment = payload[data_at - TIMESTAMP_BYTES : data_at]
        if _has_odd_float(data) or moment[-8:-1] == b".000000" or moment[-1] != _ZULU:
            return _json(_whole(payload))
        # That the data is one JSON value, and not the end of it and more, shows when it is put into Python's form.
        return _joined(named, frame, data, moment[:-1] + b"+00:00")

    def _render_new(self, payload: bytes, named: bytes | None, data_at: int) -> bytes:
        half = _decode_half(payload)
        data = bytes(half.data)
        data_ends = data_at + len(data)
        # Otherwise there is more in it than an event has, or less: a field that is there twice takes room.
        if (
            len(payload) != data_ends + _AROUND_CONTEXT + len(half.context)
            or not payload.startswith(BEFORE_CONTEXT, data_ends)
            or not payload.startswith(data, data_at)
        ):
            return _json(_whole(payload))
        frame = _frame(_decode_context(half.context))
        if frame is None or (named is None and half.name.startswith(PREFIXES)):
            return _json(_decode(payload))
        self._latest = (payload[data_ends:], frame)
        if _has_odd_float(data):
            return _json(_decode(payload))
        if named is None:
            named = self._learn_name(payload, half.name)
            return _joined(named, frame, data, _isoformat(half.timestamp).encode())
        moment = payload[data_at - _TO_DATA - TIMESTAMP_BYTES : data_at - _TO_DATA]
        if moment[-8:-1] == b".000000" or moment[-1] != _ZULU:
            return _json(_decode(payload))
        return _joined(named, frame, data, moment[:-1] + b"+00:00")

    def _learn_name(self, payload: bytes, name: str) -> bytes:
        named = _dump(name)
        between = encode_head(_encode(name))
        if payload.startswith(between, ID_END):
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
            self._names[between] = named
        return named


def _joined(named: bytes, frame: _Frame, data: bytes, moment: bytes) -> bytes:
    event = as_python_writes(data)
    if frame.is_browser:
        event = _dump(event.decode())
    return b"".join(
        (
            b'{"name": ',
            named,
            frame.after_name,
            event,
            b', "time": "',
            moment,
            b'", "event_type": ',
            frame.event_type or named,
            frame.after_event_type,
        )
    )


def _whole(payload: bytes) -> _Envelope:
    """All of a payload, decoded, of which it is not known yet that it is one event and nothing else."""
    envelope = _decode(payload)
    check_fields(payload)
    return envelope


def _event(payload: bytes) -> bytes:
    _whole(payload)
    return on_one_line(payload)


def _frame(context: dict[str, Any]) -> _Frame | None:
    """The frame of a context, which it empties. None where there is none, as where the context says the time."""
    line = _map(UNSET, UNSET, context, UNSET)
    source, page, event_type = line.event_source, line.page, line.event_type
    # Within a string there is no quote that is not escaped, so that nothing in one looks like what is looked for below.
    if line.time is not UNSET or type(source) is not str or not (page is None or type(page) is str):
        return None
    line.event = line.event_type = UNSET
    # All at once, since a dump of each part would take twice as long.
    dumped = _dump(line)
    at = dumped.rfind(_AFTER_EVENT_TYPE)
    return _Frame(
        after_name=b", " + dumped[1:at] + b', "event": ',
        event_type=None if event_type is UNSET else _dump(event_type),
        after_event_type=dumped[at:],
        is_browser=source == "browser",
    )


def _has_odd_float(data: bytes) -> bool:
    """Whether a number of compact JSON may be one that Python writes otherwise than msgspec does."""
    if data.find(_FOUR_ZEROS) >= 0:  # faster than `in`, as is a number there instead of a byte
        return True
    # Two passes in C are five times faster than one regular expression. Half of all ids in hexadecimal look at first
    # as if they had an exponent.
    digits = data.translate(_TO_ZERO)
    at = digits.find(_EXPONENT)
    while at >= 0:
        # An exponent has a sign and up to three digits, and a number ends where its list or object goes on.
        rest = digits[at + 4 : at + 7].lstrip(b"0")
        if rest[:1] in _AFTER_NUMBER:
            return True
        at = digits.find(_EXPONENT, at + 2)
    return False


def _tutor_prefix(envelope: _Envelope) -> bytes:
    user, address = _plain(envelope.context.get("user_id")), _plain(envelope.context.get("ip"))
    moment = _isoformat(envelope.timestamp)
    milliseconds = moment[20:23] if moment[19] == "." else "000"
    # The emitting process is not known here and the worker would differ from one rendering to the next: it is 0.
    second = _local_second(moment[:19])
    return f"{second},{milliseconds} INFO 0 [tracking] [user {user}] [ip {address}] logger.py:41 - ".encode()


def _json(envelope: _Envelope) -> bytes:
    line = _map(envelope.name, envelope.data, envelope.context, _isoformat(envelope.timestamp))
    if line.name.startswith(PREFIXES) and _apply_rename(line):
        # The rules may have computed numbers, which the decoder has not seen.
        return json.dumps(msgspec.structs.asdict(line)).encode()
    return _dump(line)


def _map(name: Any, data: Any, context: dict[str, Any], time: Any) -> _Line:
    """edX's mapping of the fields that its older readers expect at the top; empties the context of them."""
    pop = context.pop
    source = pop("event_source", "server")
    # edX's tracker takes every empty value for no data.
    event = data or {}
    if source == "browser" and type(event) is dict:
        event = _dump(event).decode()
    pop("client_id", None)
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
        _device_time(context) if "timestamp" in context else time,
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
    return as_python_writes(_encode(value))


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
    return to_utc(datetime.fromisoformat(timestamp)).isoformat()


@lru_cache(maxsize=4096)
def _local_second(second: str) -> str:
    """A second of UTC in this machine's time zone, as Python's logging writes it."""
    return datetime.fromisoformat(second + "+00:00").astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and _PLAIN.fullmatch(value) else None
