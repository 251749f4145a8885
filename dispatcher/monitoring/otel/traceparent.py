"""Traceparent: the trace of a request as W3C writes it, and how it gets into the request's events.

Only sampled requests have one here: the events of all others are as long as ever.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from dispatcher.wire import RARE_BYTE, add_to_context

#: The key of the trace in the context; see ``monitoring.traces`` for its last byte.
KEY: Final = f"dispatcher.traceparent{chr(RARE_BYTE)}"
#: The name of the header, and of the key under which destinations that show traces find it.
HEADER: Final = "traceparent"
_QUOTED_KEY: Final = f'"{KEY}"'.encode()
# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace, span, flags. A later version may have more
# behind the flags; 255 is left out, as are ids of zeros.
_HEADER: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
)
_SAMPLED: Final = 1
# The span that was asked for last, and its text: to write it anew for each event would double what emit takes. Threads
# replace the pair as a whole.
_latest: Final[list[tuple[object, str]]] = [(None, "")]


@dataclass(frozen=True, slots=True)
class Parent:
    """The span of a sampled request that emitted an event. Equal if the span is the same.

    Args:
        trace_id: 32 hexadecimal digits.
        span_id: 16 of them.
        emitted_at: When the first of its events was emitted; None where that is not known.
    """

    trace_id: str
    span_id: str
    emitted_at: datetime | None = field(default=None, compare=False)


def parse_traceparent(text: str) -> Parent | None:
    """The parent that a ``traceparent`` names. None if it is not one, or its request is not sampled. Pure."""
    found = _HEADER.match(text)
    if found is None or not int(found["flags"], 16) & _SAMPLED:
        return None
    rest = text[found.end() :]
    if rest and (text.startswith("00") or not rest.startswith("-")):
        return None
    return Parent(found["trace"], found["span"])


def format_traceparent(trace_id: str, span_id: str) -> str:
    """The ``traceparent`` of a sampled span."""
    return f"00-{trace_id}-{span_id}-01"


def current_traceparent() -> str:
    """That of the caller's span in the app's own OpenTelemetry. Empty without one, or if it is not sampled.

    Imports nothing: an app that traces has imported it. Neither blocks nor raises.
    """
    api: Any = sys.modules.get("opentelemetry.trace")
    if api is None:
        return ""
    try:
        span = api.get_current_span().get_span_context()
        known = _latest[0]
        if span is not known[0]:
            is_sampled = span.is_valid and span.trace_flags & _SAMPLED
            known = _latest[0] = (span, f"00-{span.trace_id:032x}-{span.span_id:016x}-01" if is_sampled else "")
        return known[1]
    except Exception:  # the app's own: an event must not be lost for it, whatever is wrong there
        return ""


def trace_context(header: str = "") -> dict[str, str]:
    """What to bind for the length of a request, so that its deliveries show in its trace.

    dispatcher's middlewares do so by themselves where ``OTEL_EXPORTER_OTLP_ENDPOINT`` is set. Without them::

        with tracker.context("request", {"user_id": 7, **trace_context()}):

    Neither blocks nor raises.

    Args:
        header: The request's header ``traceparent``, for an app without OpenTelemetry behind a proxy that traces.

    Returns:
        A part of the context; empty where there is neither a span nor a header, or the request is not sampled.
    """
    current = current_traceparent()
    if current:
        return {KEY: current}
    parent = parse_traceparent(header)
    return {} if parent is None else {KEY: format_traceparent(parent.trace_id, parent.span_id)}


def add_current(payload: bytes) -> bytes:
    """The payload with the trace of the caller's span, unless its context has one. Neither blocks nor raises."""
    current = current_traceparent()
    if not current or (RARE_BYTE in payload and _QUOTED_KEY in payload):
        return payload
    return add_to_context(payload, _QUOTED_KEY + b':"' + current.encode() + b'"')
