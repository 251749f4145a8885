"""Span: one step on the way of events, as OpenTelemetry shows it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from dispatcher.monitoring.otel.traceparent import Parent

# Numbers of OTLP's enum SpanKind.
INTERNAL: Final = 1
CLIENT: Final = 3
PRODUCER: Final = 4
CONSUMER: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span that has ended.

    Args:
        trace_id: 32 hexadecimal digits.
        span_id: 16 of them.
        parent_id: That of the span above it; empty at the top.
        name: With names of destinations in it, and nothing of an event.
        kind: One of the numbers above.
        start_ns: When it began, in nanoseconds since 1970.
        end_ns: When it ended.
        attributes: Names, counts and single words.
        links: Spans of other traces that it belongs to as well.
        is_error: Whether what it stands for failed.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    kind: int = INTERNAL
    start_ns: int
    end_ns: int
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    links: Sequence[Parent] = ()
    is_error: bool = False


def new_trace_id() -> str:
    """A random id of a trace."""
    return secrets.token_hex(16)


def new_span_id() -> str:
    """A random id of a span."""
    return secrets.token_hex(8)
