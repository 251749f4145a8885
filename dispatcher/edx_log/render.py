"""A line of the tracking log from an event's payload: pure, and the same bytes whenever and wherever it is rendered.

``edx`` without ids is to the byte what edX's logger writes, which is Python's ``json.dumps`` with its defaults. Data
without an odd float is not even decoded, but stands in the line as it came; and what follows from the context alone is
rendered once for all the events of a request.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import UNSET

from dispatcher.edx_log.edx_line import ID_KEY, isoformat, make_line, write_line
from dispatcher.edx_log.legacy import PREFIXES
from dispatcher.edx_log.python_json import as_python_writes, dump, may_have_odd_float, parse_float
from dispatcher.secrecy.safe_text import escape_payload
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

#: What a payload that cannot be rendered raises.
DECODING_ERRORS: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)

# What may stand in a Tutor prefix: readers take everything from the first brace on for the event.
_SAFE_TEXT: Final = re.compile(r"[\w.:@+-]+", re.ASCII)


class _Envelope(msgspec.Struct, gc=False):
    id: str
    name: str
    timestamp: str
    data: Any
    context: dict[str, Any]


class _RawEnvelope(msgspec.Struct, gc=False):
    name: str
    timestamp: str
    data: msgspec.Raw
    context: msgspec.Raw


class _SharedParts(msgspec.Struct, gc=False):
    """The parts of a line that follow from its context alone, which the events of one request share."""

    #: All behind the name, up to where the event's id goes; or up to the data, in lines without ids.
    after_name: bytes
    after_id: bytes
    #: Where the context says it. Otherwise it is the event's name.
    event_type: bytes | None
    after_event_type: bytes
    is_browser: bool


_decode: Final = msgspec.json.Decoder(_Envelope, float_hook=parse_float).decode
_decode_raw: Final = msgspec.json.Decoder(_RawEnvelope).decode
_decode_context: Final = msgspec.json.Decoder(dict[str, Any], float_hook=parse_float).decode
# How a timestamp in UTC ends.
_ZULU: Final = ord("Z")
# From the end of the timestamp to the first byte of the data.
_TO_DATA: Final = BEFORE_DATA.index(b"{")
_AROUND_CONTEXT: Final = len(BEFORE_CONTEXT) + len(AFTER_CONTEXT)
_AFTER_EVENT_TYPE: Final = b', "event_source": '
_NOTHING_SHARED: Final = _SharedParts(b"", b"", None, b"", is_browser=False)
# Stands in for the id while the parts of a line are made. Random, so that no context has it.
_ID_PLACE: Final = os.urandom(18).hex()
_QUOTED_ID_PLACE: Final = f'"{_ID_PLACE}"'.encode()
_BEFORE_ID: Final = b'{"id":"'
_QUOTE: Final = ord('"')
# Names that are remembered; they come from users, so the number has to be bounded.
_MAX_NAMES: Final = 10_000


def renderer(line_format: Format, *, ids: bool = False) -> Callable[[bytes], bytes]:
    """The function that renders a payload as a line, without the line break. It raises one of ``DECODING_ERRORS``.

    Args:
        line_format: ``edx`` is the bare JSON object; ``tutor`` has the prefix that Tutor's logging puts before it;
            ``event`` is the payload itself.
        ids: Whether the event's id goes into the line's context, as ``event_id``.
    """
    if line_format == "event":
        return _render_event
    if line_format == "edx":
        return _EdxRenderer(ids=ids).render

    def render(payload: bytes) -> bytes:
        envelope = _decode_whole(payload)
        # The prefix comes first, since to make a line empties the context.
        return _tutor_prefix(envelope) + _render_envelope(envelope, ids=ids)

    return render


class _EdxRenderer:
    """Renders one payload after another, and remembers what neighbours have in common. Safe in threads."""

    __slots__ = ("_ids", "_latest", "_names")

    def __init__(self, *, ids: bool) -> None:
        self._ids = ids
        # How the latest payload ended, and the parts of its line that follow from its context. They are set before
        # the first name is.
        self._latest = (b"", _NOTHING_SHARED)
        # The names as they stand in lines, by what stands between an event's id and its timestamp.
        self._names: dict[bytes, bytes] = {}

    def render(self, payload: bytes) -> bytes:
        """The line put together from parts of the payload, where that gives the bytes that decoding it all does.

        Most events have a name that was seen before and the context of the event before: of these only the data is
        looked at. What is remembered was decoded once, so that a payload which matches it is what it looks like.
        """
        ending, shared = self._latest
        data_at = payload.find(BEFORE_DATA, ID_END)
        name_json = self._names.get(payload[ID_END : data_at - TIMESTAMP_BYTES])
        event_id = _quoted_id(payload) if self._ids else b""
        if name_json is None or event_id is None or not payload.endswith(ending):
            return self._render_new(payload, name_json, data_at + _TO_DATA)
        data = payload[data_at + _TO_DATA : -len(ending)]
        timestamp = payload[data_at - TIMESTAMP_BYTES : data_at]
        if may_have_odd_float(data) or timestamp[-8:-1] == b".000000" or timestamp[-1] != _ZULU:
            return _render_envelope(_decode_whole(payload), ids=self._ids)
        # That the data is one JSON value, and not the end of it and more, shows when it is put into Python's form.
        return _join(name_json, event_id, shared, data, timestamp[:-1] + b"+00:00")

    def _render_new(self, payload: bytes, name_json: bytes | None, data_at: int) -> bytes:
        raw = _decode_raw(payload)
        data = bytes(raw.data)
        data_end = data_at + len(data)
        event_id = _quoted_id(payload) if self._ids else b""
        # Otherwise the payload has more fields than an event, or fewer, or one of them twice.
        if (
            event_id is None
            or len(payload) != data_end + _AROUND_CONTEXT + len(raw.context)
            or not payload.startswith(BEFORE_CONTEXT, data_end)
            or not payload.startswith(data, data_at)
        ):
            return _render_envelope(_decode_whole(payload), ids=self._ids)
        shared = _share_parts(_decode_context(raw.context), ids=self._ids)
        if shared is None or (name_json is None and raw.name.startswith(PREFIXES)):
            return _render_envelope(_decode(payload), ids=self._ids)
        self._latest = (payload[data_end:], shared)
        if may_have_odd_float(data):
            return _render_envelope(_decode(payload), ids=self._ids)
        if name_json is None:
            name_json = self._learn_name(payload, raw.name)
            return _join(name_json, event_id, shared, data, isoformat(raw.timestamp).encode())
        timestamp = payload[data_at - _TO_DATA - TIMESTAMP_BYTES : data_at - _TO_DATA]
        if timestamp[-8:-1] == b".000000" or timestamp[-1] != _ZULU:
            return _render_envelope(_decode(payload), ids=self._ids)
        return _join(name_json, event_id, shared, data, timestamp[:-1] + b"+00:00")

    def _learn_name(self, payload: bytes, name: str) -> bytes:
        name_json = dump(name)
        head = encode_head(msgspec.json.encode(name))
        if payload.startswith(head, ID_END):
            if len(self._names) >= _MAX_NAMES:
                self._names.clear()
            self._names[head] = name_json
        return name_json


def _quoted_id(payload: bytes) -> bytes | None:
    """The event's id as JSON, where it has the length and the characters of one of ours; None for any other."""
    if not payload.startswith(_BEFORE_ID) or payload[ID_END] != _QUOTE:
        return None
    event_id = payload[len(_BEFORE_ID) - 1 : ID_END + 1]
    return event_id if event_id[1:-1].replace(b"-", b"").isalnum() else None


def _join(name_json: bytes, event_id: bytes, shared: _SharedParts, data: bytes, timestamp: bytes) -> bytes:
    event = as_python_writes(data)
    if shared.is_browser:
        event = dump(event.decode())
    return b"".join(
        (
            b'{"name": ',
            name_json,
            shared.after_name,
            event_id,
            shared.after_id,
            event,
            b', "time": "',
            timestamp,
            b'", "event_type": ',
            shared.event_type or name_json,
            shared.after_event_type,
        )
    )


def _share_parts(context: dict[str, Any], *, ids: bool) -> _SharedParts | None:
    """The shared parts of a context, which it empties. None where a line needs more than those, such as a time."""
    if ids:
        context[ID_KEY] = _ID_PLACE
    line = make_line(UNSET, UNSET, context, UNSET)
    source, page, event_type = line.event_source, line.page, line.event_type
    # Within a string every quote is escaped, so that nothing in one looks like what is searched for below.
    if line.time is not UNSET or type(source) is not str or not (page is None or type(page) is str):
        return None
    line.event = line.event_type = UNSET
    # All at once, since a dump of each part would take twice as long.
    dumped = dump(line)
    at = dumped.rfind(_AFTER_EVENT_TYPE)
    after_name, found, after_id = (b", " + dumped[1:at] + b', "event": ').partition(_QUOTED_ID_PLACE)
    if bool(found) != ids:
        return None
    return _SharedParts(
        after_name=after_name,
        after_id=after_id,
        event_type=None if event_type is UNSET else dump(event_type),
        after_event_type=dumped[at:],
        is_browser=source == "browser",
    )


def _decode_whole(payload: bytes) -> _Envelope:
    """Decode a payload of which it is not known yet that it is one event and nothing else."""
    envelope = _decode(payload)
    check_fields(payload)
    return envelope


def _render_envelope(envelope: _Envelope, *, ids: bool) -> bytes:
    if ids:
        envelope.context[ID_KEY] = envelope.id
    return write_line(make_line(envelope.name, envelope.data, envelope.context, isoformat(envelope.timestamp)))


def _render_event(payload: bytes) -> bytes:
    _decode_whole(payload)
    return escape_payload(on_one_line(payload))


def _tutor_prefix(envelope: _Envelope) -> bytes:
    user, address = _safe_text(envelope.context.get("user_id")), _safe_text(envelope.context.get("ip"))
    timestamp = isoformat(envelope.timestamp)
    milliseconds = timestamp[20:23] if timestamp[19] == "." else "000"
    # The emitting process is not known here and the worker would differ from one rendering to the next: it is 0.
    second = _local_second(timestamp[:19])
    return f"{second},{milliseconds} INFO 0 [tracking] [user {user}] [ip {address}] logger.py:41 - ".encode()


@lru_cache(maxsize=4096)
def _local_second(second: str) -> str:
    """A second of UTC in this machine's time zone, as Python's logging writes it."""
    return datetime.fromisoformat(second + "+00:00").astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _safe_text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and _SAFE_TEXT.fullmatch(value) else None
