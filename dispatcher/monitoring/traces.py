"""Traces: how the trace of a web request travels with its events, and is removed before any destination sees them.

It is a key of the tracking context, one of Sentry's and one of OpenTelemetry's: encoded once for a request, and spliced
into each event like the rest of the context, so that it costs emit nothing. Outbox, batch store and dead letters keep
it, so that a retry has it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from dispatcher.monitoring.otel import traceparent
from dispatcher.monitoring.otel.traceparent import Parent, parse_traceparent
from dispatcher.monitoring.sentry import traces as sentry_traces
from dispatcher.monitoring.sentry.traces import Trace, parse_trace
from dispatcher.wire import RARE_BYTE, replace_context

# Each key of the context, and what reads its value.
_READERS: Final[dict[str, Callable[[str], Trace | Parent | None]]] = {
    sentry_traces.KEY: parse_trace,
    traceparent.KEY: parse_traceparent,
}
_QUOTED_KEYS: Final = tuple(f'"{key}"'.encode() for key in _READERS)


# What stands around the value of OpenTelemetry's, where it is the last member of the context.
_LAST: Final = f'"{traceparent.KEY}":"'.encode()
_AFTER_LAST: Final = b'"}}'
_LAST_BYTES: Final = len(_LAST) + len(traceparent.format_traceparent("0" * 32, "0" * 16)) + len(_AFTER_LAST)
# Parents whose first event's time is read: more of a batch are not shown.
_MAX_TIMES: Final = 20


class _Ending(msgspec.Struct, gc=False):
    context: msgspec.Raw


class _Start(msgspec.Struct, gc=False):
    timestamp: datetime


_decode_ending: Final = msgspec.json.Decoder(_Ending).decode
# The values stay as they are, to the byte.
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_start: Final = msgspec.json.Decoder(_Start).decode
_encode: Final = msgspec.json.encode


class Untraced(NamedTuple):
    """The events of a batch as destinations get them, and the traces that were in them, each once, in order.

    Args:
        payloads: The events.
        traces: Those of Sentry.
        parents: Those of OpenTelemetry.
    """

    payloads: tuple[bytes, ...]
    traces: tuple[Trace, ...] = ()
    parents: tuple[Parent, ...] = ()


def remove_traces(payloads: Sequence[bytes], *, is_shown: bool = False) -> Untraced:
    """Remove the traces from the payloads of a batch. Pure; bytes that are not an event stay as they are.

    Args:
        payloads: The events.
        is_shown: Whether the destination is to know OpenTelemetry's: it is then the context's ``traceparent``, unless
            the app has bound one under that name.
    """
    if not any(RARE_BYTE in payload for payload in payloads):
        return Untraced(tuple(payloads))
    clean = []
    found: dict[Trace | Parent, bytes] = {}
    for payload in payloads:
        without, traces = _remove_from(payload, is_shown)
        clean.append(without)
        for trace in traces:
            found.setdefault(trace, payload)
    parents = [(parent, payload) for parent, payload in found.items() if isinstance(parent, Parent)]
    return Untraced(
        tuple(clean),
        tuple(trace for trace in found if isinstance(trace, Trace)),
        (
            *(replace(parent, emitted_at=_read_time(payload)) for parent, payload in parents[:_MAX_TIMES]),
            *(parent for parent, _ in parents[_MAX_TIMES:]),
        ),
    )


def _remove_from(payload: bytes, is_shown: bool) -> tuple[bytes, Sequence[Trace | Parent]]:
    if not is_shown and (cut := _cut_last(payload)) is not None:
        return cut
    if not any(key in payload for key in _QUOTED_KEYS):
        return payload, ()
    # Only a key of the context is ours: the data may hold the same key, from anywhere.
    try:
        context = bytes(_decode_ending(payload).context)
        members = _decode_members(context)
        value = members.get(traceparent.KEY)
        traces = _take_traces(members)
        if is_shown and value is not None and traceparent.KEY not in members:
            members.setdefault(traceparent.HEADER, value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return payload, ()  # for the destination to judge
    clean = replace_context(payload, context, _encode(members)) if traces else None
    return (payload, ()) if clean is None else (clean, traces)


def _cut_last(payload: bytes) -> tuple[bytes, Sequence[Parent]] | None:
    """The same for a payload whose context ends with OpenTelemetry's trace, as emit writes it; None for any other.

    It takes less than half of the time, as nothing is decoded.
    """
    begin = len(payload) - _LAST_BYTES
    # The two braces close the context and the event. A quotation mark inside of a text has a backslash before it.
    if not payload.startswith(_LAST, begin) or not payload.endswith(_AFTER_LAST) or _QUOTED_KEYS[0] in payload:
        return None
    parent = _parent_of(payload[begin + len(_LAST) : -len(_AFTER_LAST)])
    if parent is None or payload[begin - 1] not in b",{":
        return None
    kept = begin - 1 if payload[begin - 1 : begin] == b"," else begin
    return payload[:kept] + _AFTER_LAST[1:], (parent,)


# Events of one request follow each other.
@lru_cache(maxsize=64)
def _parent_of(value: bytes) -> Parent | None:
    return parse_traceparent(value.decode("ascii", "replace"))


def _take_traces(members: dict[str, Any]) -> list[Trace | Parent]:
    """Take the traces out of a context. What has the key and is not a trace stays there."""
    traces: list[Trace | Parent] = []
    for key, read in _READERS.items():
        trace = read(_decode_text(members[key])) if key in members else None
        if trace is not None:
            del members[key]
            traces.append(trace)
    return traces


def _read_time(payload: bytes) -> datetime | None:
    try:
        return _decode_start(payload).timestamp
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
