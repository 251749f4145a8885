"""OTLP logs: events as log records of OpenTelemetry, for every back end that takes its protocol over HTTP."""

from dispatcher.tasks.destinations.otlp_logs.destination import OtlpLogs, OtlpLogsOptions

__all__ = ["OtlpLogs", "OtlpLogsOptions"]
