"""OpenTelemetry: metrics and spans of dispatcher's own, over OTLP; and traces from a request to its deliveries.

Apps use ``trace_context``. Everything else is for dispatcher's own processes, which import the modules.
"""

from dispatcher.monitoring.otel.traceparent import trace_context

__all__ = ["trace_context"]
