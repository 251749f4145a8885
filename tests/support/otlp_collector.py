"""A stand-in for an OpenTelemetry Collector: it takes OTLP as JSON, read by OpenTelemetry's own classes."""

from __future__ import annotations

import base64
from typing import Any, Final

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.vendor import Call, Reply, Vendor
from tests.support.waiting import wait_for

# OTLP's JSON has these in hexadecimal digits; protobuf's own JSON in base64.
_IDS: Final = ("traceId", "spanId", "parentSpanId")


class OtlpCollector(Vendor):
    """Listens on this machine from ``with`` on. Safe in threads."""

    def __init__(self) -> None:
        super().__init__()
        self.trace_requests: list[ExportTraceServiceRequest] = []
        self.metric_requests: list[ExportMetricsServiceRequest] = []
        self.log_requests: list[ExportLogsServiceRequest] = []

    @property
    def environ(self) -> dict[str, str]:
        """The variables with which everything is sent here at once."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "50",
        }

    @property
    def spans(self) -> list[Span]:
        """All spans, in the order in which they came."""
        with self._lock:
            return [
                span
                for request in self.trace_requests
                for of_resource in request.resource_spans
                for of_scope in of_resource.scope_spans
                for span in of_scope.spans
            ]

    def wait_for_spans(self, *names: str) -> list[Span]:
        """Wait until there is a span of each name, and return all spans."""
        wait_for(
            lambda: set(names) <= {span.name for span in self.spans},
            what=lambda: f"spans {names}; there are {[span.name for span in self.spans]}",
        )
        return self.spans

    def answer(self, call: Call) -> Reply:
        """Take a request, or refuse it as a Collector does."""
        kind = call.headers.get("content-type")
        if kind != "application/json":
            return Reply(status=415)
        try:
            if call.path == "/v1/traces":
                traces = json_format.ParseDict(_with_base64(call.value), ExportTraceServiceRequest())
                with self._lock:
                    self.trace_requests.append(traces)
            elif call.path == "/v1/logs":
                logs = json_format.ParseDict(_with_base64(call.value), ExportLogsServiceRequest())
                with self._lock:
                    self.log_requests.append(logs)
            elif call.path == "/v1/metrics":
                metrics = json_format.ParseDict(call.value, ExportMetricsServiceRequest())
                with self._lock:
                    self.metric_requests.append(metrics)
            else:
                return Reply(status=404)
        except (json_format.ParseError, ValueError) as error:
            return Reply(status=400, body=str(error).encode())
        return Reply(body=b'{"partialSuccess":{}}')


def attributes_of(holder: Any) -> dict[str, Any]:
    """The attributes of a span, a point or a resource."""
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in holder.attributes
    }


def _with_base64(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(inner)).decode() if key in _IDS else _with_base64(inner)
            for key, inner in value.items()
        }
    return [_with_base64(inner) for inner in value] if isinstance(value, list) else value
