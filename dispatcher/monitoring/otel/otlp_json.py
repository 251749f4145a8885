"""OTLP JSON: metrics and spans in the JSON form of OTLP 1.x. Pure.

Names are in lowerCamelCase, ids in hexadecimal digits, numbers of 64 bits as text, enums as numbers
(https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
"""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from dispatcher.monitoring.otel.span import Span
from dispatcher.version import __version__

#: The scope, which names who made the numbers.
_SCOPE: Final = {"name": "dispatcher", "version": __version__}
_ERROR: Final = 2
# Links of a span that are sent; how many more there were is said.
_MAX_LINKS: Final = 128
_FLAG_SAMPLED: Final = 1


def resource_of(attributes: Mapping[str, str], *, role: str) -> dict[str, Any]:
    """The resource that says which process sends.

    Args:
        attributes: Those of the variables.
        role: The part that the process plays, such as ``worker``.
    """
    # The same for each start of a role on a machine, so that its series go on; no name of the machine is in it.
    instance = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{role}.{socket.gethostname()}"))
    return {
        "attributes": _attributes(
            {"service.version": __version__, "service.instance.id": instance, "dispatcher.role": role, **attributes}
        )
    }


def encode_spans(spans: Iterable[Span], resource: Mapping[str, Any]) -> bytes:
    """The body for ``/v1/traces``."""
    scope = {"scope": _SCOPE, "spans": [_span(span) for span in spans]}
    return _encode({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})


def encode_metrics(metrics: Sequence[Mapping[str, Any]], resource: Mapping[str, Any]) -> bytes:
    """The body for ``/v1/metrics``, of metrics in OTLP's form."""
    scope = {"scope": _SCOPE, "metrics": metrics}
    return _encode({"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]})


def attribute(name: str, value: str | int) -> dict[str, Any]:
    """One attribute."""
    return {"key": name, "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}}


def _attributes(values: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [attribute(name, value) for name, value in values.items()]


def _span(span: Span) -> dict[str, Any]:
    links = [{"traceId": link.trace_id, "spanId": link.span_id} for link in span.links[:_MAX_LINKS]]
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **({"parentSpanId": span.parent_id} if span.parent_id else {}),
        "flags": _FLAG_SAMPLED,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        # Clocks of two machines may differ.
        "endTimeUnixNano": str(max(span.start_ns, span.end_ns)),
        "attributes": _attributes(span.attributes),
        "links": links,
        "droppedLinksCount": len(span.links) - len(links),
        "status": {"code": _ERROR} if span.is_error else {},
    }


def _encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
