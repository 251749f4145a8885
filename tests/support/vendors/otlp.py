"""A receiver of OTLP over HTTP, which reads requests with OpenTelemetry's own classes, as a collector does.

A request with ``poison`` gets 400. Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from google.protobuf.json_format import Parse, ParseError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tests.support.vendor import POISON, Call, Reply, Vendor

KEY: Final = "hidden-vendor-key"
_MAX_BYTES: Final = 64 << 20


class OtlpVendor(Vendor):
    """Takes log records; ``taken`` counts them by the attribute ``event.id``."""

    def answer(self, call: Call) -> Reply:
        if (call.method, call.path) != ("POST", "/v1/logs"):
            return Reply(status=404)
        if call.headers.get("api-key") != KEY:
            return Reply(status=401)
        if call.headers.get("content-type") != "application/json" or len(call.content) > _MAX_BYTES:
            return Reply(status=415 if len(call.content) <= _MAX_BYTES else 413)
        try:
            records = records_of(call)
        except (ParseError, ValueError):
            return Reply(status=400)
        if POISON in call.text or not all(_is_whole(record) for record in records):
            return Reply(status=400)
        headers = {"Content-Type": "application/json"}
        return Reply(body=b'{"partialSuccess":{}}', headers=headers, taken=[id_of(record) for record in records])


def records_of(call: Call) -> list[LogRecord]:
    """The log records of a request, read by OpenTelemetry's classes. Raises ParseError or ValueError."""
    # Ids are hexadecimal in OTLP's JSON, where proto3's own has base64.
    request = Parse(json.dumps(_with_base64(json.loads(call.content))), ExportLogsServiceRequest())
    for resource_logs in request.resource_logs:
        if not any(attribute.key == "service.name" for attribute in resource_logs.resource.attributes):
            raise ValueError("a resource without service.name")
    return [
        record
        for resource_logs in request.resource_logs
        for scope_logs in resource_logs.scope_logs
        for record in scope_logs.log_records
    ]


def id_of(record: LogRecord) -> str:
    """The id of a record's event."""
    return next(attribute.value.string_value for attribute in record.attributes if attribute.key == "event.id")


def _is_whole(record: LogRecord) -> bool:
    keys = [attribute.key for attribute in record.attributes]
    return (
        len(set(keys)) == len(keys) and all(keys) and len(record.trace_id) in {0, 16} and len(record.span_id) in {0, 8}
    )


def _with_base64(body: Any) -> Any:
    for resource_logs in body["resourceLogs"]:
        for scope_logs in resource_logs["scopeLogs"]:
            for record in scope_logs["logRecords"]:
                for key in ("traceId", "spanId"):
                    if key in record:
                        record[key] = base64.b64encode(bytes.fromhex(record[key])).decode()
    return body
