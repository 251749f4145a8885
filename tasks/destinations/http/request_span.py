"""RequestSpan: an HTTP request as OpenTelemetry shows it, below the span of its delivery. Its URL may hold credentials,
so only the host is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from dispatcher.monitoring.otel.span import CLIENT, Span, new_span_id
from dispatcher.monitoring.otel.traceparent import HEADER, Parent, format_traceparent
from dispatcher.monitoring.otel.tracing import active_tracing
from dispatcher.tasks.destinations.http.answer import Answer

if TYPE_CHECKING:
    from dispatcher.tasks.destinations.http.client import NoAnswer
    from dispatcher.tasks.destinations.http.request import Request

Send: TypeAlias = "Callable[[Request], Answer | NoAnswer]"


def send_traced(send: Send, request: Request, above: Parent, *, tells_trace: bool) -> Answer | NoAnswer:
    """Send a request, and report how that went.

    Args:
        send: Sends it.
        request: The request.
        above: The span of the delivery.
        tells_trace: Whether the request carries the trace on, as the header ``traceparent``.
    """
    own = Parent(above.trace_id, new_span_id())
    if tells_trace:
        headers = {**request.headers, HEADER: format_traceparent(own.trace_id, own.span_id)}
        request = replace(request, headers=headers)
    began_ns = time.time_ns()
    answer = send(request)
    tracing = active_tracing()
    if tracing is not None:
        tracing.spans.add([_span(own, above, request, answer, began_ns)])
    return answer


def _span(own: Parent, above: Parent, request: Request, answer: Answer | NoAnswer, began_ns: int) -> Span:
    url = urlsplit(request.url)
    # https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
    attributes: dict[str, str | int] = {
        "http.request.method": request.method,
        "url.scheme": url.scheme,
        "server.address": url.hostname or "",
        "server.port": url.port or (443 if url.scheme == "https" else 80),
        "http.request.body.size": len(request.body),
    }
    is_error = True
    if isinstance(answer, Answer):
        attributes["http.response.status_code"] = answer.status
        is_error = answer.status >= 400
        if is_error:
            attributes["error.type"] = str(answer.status)
    else:
        attributes["error.type"] = "no_answer"
    return Span(
        trace_id=own.trace_id,
        span_id=own.span_id,
        parent_id=above.span_id,
        name=request.method,
        kind=CLIENT,
        start_ns=began_ns,
        end_ns=time.time_ns(),
        attributes=attributes,
        is_error=is_error,
    )
