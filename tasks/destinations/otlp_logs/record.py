"""Record: an event as a log record in the JSON of OTLP, which is that of proto3 with ids in hexadecimal digits.

Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding and opentelemetry/proto/logs/v1/logs.proto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from dispatcher.event import Event

# SEVERITY_NUMBER_INFO. Enums are numbers in OTLP's JSON.
_INFO: Final = 9
# Objects and lists inside of each other. Readers of protobuf refuse a message with a hundred messages inside of each
# other, and each of these is two or three; what is deeper is text.
_MAX_LEVELS: Final = 16
# What the protocol's fixed64 and int64 hold.
_MAX_TIME: Final = 2**64 - 1
_INT64: Final = range(-(2**63), 2**63)
_SCALARS: Final[Mapping[type, str]] = {str: "stringValue", bool: "boolValue", float: "doubleValue"}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

# The key of the context under which an app may bind the trace of its request, and the value of that header
# (https://www.w3.org/TR/trace-context/#traceparent-header).
_TRACE_KEY: Final = "traceparent"
_TRACE: Final = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")


def to_record(event: Event) -> dict[str, Any]:
    """The log record that an event becomes: its data is the body, its context the attributes. Pure."""
    # A time that the protocol cannot say is 0, which stands for an unknown one.
    nanoseconds = (event.timestamp - _EPOCH) // _MICROSECOND * 1000
    time = str(nanoseconds if 0 <= nanoseconds <= _MAX_TIME else 0)
    context = {key: value for key, value in event.context.items() if key}
    # Back ends that do not know the field eventName yet find it by the attribute that was before.
    attributes = {**context, "event.id": event.id, "event.name": event.name}
    return {
        "timeUnixNano": time,
        "observedTimeUnixNano": time,
        "severityNumber": _INFO,
        "severityText": "INFO",
        "eventName": event.name,
        "body": _any_value(event.data, _MAX_LEVELS),
        "attributes": key_values(attributes),
        **_trace(context.get(_TRACE_KEY)),
    }


def key_values(table: Mapping[str, Any], levels: int = _MAX_LEVELS) -> list[dict[str, Any]]:
    """A table as the list of KeyValue that OTLP has in its place."""
    return [{"key": key, "value": _any_value(value, levels)} for key, value in table.items()]


def _any_value(value: Any, levels: int) -> dict[str, Any]:
    if isinstance(value, dict | list):
        return _nested_value(value, levels)
    if value is None:
        return {}
    if type(value) is int:
        # 64 bits are text in proto3's JSON.
        return {"intValue" if value in _INT64 else "stringValue": str(value)}
    return {_SCALARS[type(value)]: value}


def _nested_value(value: dict[str, Any] | list[Any], levels: int) -> dict[str, Any]:
    if levels == 0:
        return {"stringValue": msgspec.json.encode(value).decode()}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": key_values(value, levels - 1)}}
    return {"arrayValue": {"values": [_any_value(inner, levels - 1) for inner in value]}}


def _trace(header: object) -> dict[str, Any]:
    match = _TRACE.fullmatch(header) if isinstance(header, str) else None
    if match is None:
        return {}
    return {"traceId": match["trace"], "spanId": match["span"], "flags": int(match["flags"], 16)}
