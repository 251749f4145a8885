"""Tracing: what this process traces with, if OpenTelemetry's variables say so; and the delivery that is under way."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from dispatcher.monitoring.otel.client import OtlpClient
from dispatcher.monitoring.otel.otlp_json import resource_of
from dispatcher.monitoring.otel.sampler import Sampler
from dispatcher.monitoring.otel.span_queue import SpanQueue
from dispatcher.monitoring.otel.traceparent import Parent
from dispatcher.monitoring.otel.variables import OtelVariables

#: The span of the delivery that this thread is at, for the requests that it sends. None where that is not traced.
delivery_span: Final[ContextVar[Parent | None]] = ContextVar("dispatcher_delivery_span", default=None)


class Tracing:
    """Decides what is traced, and sends it. Safe in threads and after a fork.

    Args:
        variables: With a target for traces.
        role: The part that the process plays.
    """

    def __init__(self, variables: OtelVariables, *, role: str) -> None:
        assert variables.traces is not None
        self.sampler: Final = Sampler(variables)
        self.spans: Final = SpanQueue(
            OtlpClient(variables.traces),
            resource_of(variables.resource, role=role),
            seconds=variables.span_seconds,
            limit=variables.span_queue,
            batch=variables.span_batch,
        )


_active: list[Tracing] = []


def start_tracing(variables: OtelVariables, *, role: str) -> Tracing | None:
    """Trace in this process, and in children that it forks from now on. None if no target is set. Does not block."""
    _active[:] = [] if variables.traces is None else [Tracing(variables, role=role)]
    return active_tracing()


def active_tracing() -> Tracing | None:
    """What this process traces with; None if it does not."""
    return _active[0] if _active else None
