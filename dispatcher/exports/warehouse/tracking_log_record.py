"""TrackingLogRecord: an event as one row of BigQuery's ``tracking_log``, each value of its field's type. Pure."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from dispatcher.exports.warehouse.bigquery_schema import SCHEMA, Field
from dispatcher.exports.warehouse.json_text import parse_json

#: What is read of the Parquet files.
SOURCE_COLUMNS: Final = [
    *("event_id", "timestamp", "username", "session", "event_type", "name", "emitter_type", "course_id", "page"),
    *("host", "ip", "agent", "event", "context", "source_file"),
]
# Where the table has another name for a column.
_NAMES: Final = {"emitter_type": "event_source", "event_id": "mongoid", "source_file": "datafn"}
# What is made of more than the column.
_MADE: Final = {"timestamp", "course_id", "event", "context"}
_TEXT_COLUMNS: Final = [name for name in SOURCE_COLUMNS if name not in _MADE]
_BY_NAME: Final = {field.name: field for field in SCHEMA}
# As BigQuery's INTEGER.
_MAX_INTEGER: Final = 2**63 - 1
_encode: Final = msgspec.json.Encoder().encode


class TrackingLogRecords:
    """Makes lines of NDJSON of rows, and counts. Use it in one thread."""

    def __init__(self) -> None:
        self.written = 0
        self.dropped: Counter[str] = Counter()
        self.shortened: Counter[str] = Counter()

    def line(self, row: Sequence[Any]) -> bytes:
        """A row of the Parquet files as a line, with its line break. Leaves nothing out.

        Args:
            row: The values of ``SOURCE_COLUMNS``.
        """
        self.written += 1
        record = record_of(dict(zip(SOURCE_COLUMNS, row, strict=True)))
        try:
            return _encode(record) + b"\n"
        except UnicodeEncodeError:
            # Half of a pair of surrogates, which no text in a table can be.
            return json.dumps(record, ensure_ascii=False).encode(errors="replace") + b"\n"


def record_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a row, without the fields that it has no value for."""
    payload, context = parse_json(given["event"]), parse_json(given["context"])
    is_json = isinstance(payload, dict)
    if isinstance(payload, str):
        payload, is_json = _inner(payload)
    record: dict[str, Any] = {_NAMES.get(name, name): given[name] for name in _TEXT_COLUMNS}
    record |= {
        "time": given["timestamp"].isoformat(),
        "course_id": _simeons_course(given["course_id"]),
        "module_id": _module_of(payload, context),
        "event_js": "true" if is_json else "false",
        "context": fit(_BY_NAME["context"], context),
        "event_struct": fit(_BY_NAME["event_struct"], payload),
        "event": payload if isinstance(payload, str) or payload is None else _text_of(payload),
    }
    return {name: value for name, value in record.items() if value is not None}


def fit(field: Field, value: Any) -> Any:
    """A value as its field takes it: converted where that loses nothing; None where it does not fit."""
    if value is None:
        return None
    match field.kind:
        case "RECORD":
            return _fit_record(field, value) if isinstance(value, dict) else None
        case "STRING" | "TIMESTAMP":
            return value if isinstance(value, str) else _text_of(value)
        case "BOOLEAN":
            return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())
        case "INTEGER":
            return _integer_of(value)
        case "FLOAT":
            return _float_of(value)


def _fit_record(field: Field, value: Mapping[str, Any]) -> dict[str, Any] | None:
    fitted = {
        inner.name: found
        for inner in field.fields
        if inner.name in value and (found := fit(inner, value[inner.name])) is not None
    }
    return fitted or None


def _integer_of(value: Any) -> int | None:
    number = _float_of(value) if not isinstance(value, int) or isinstance(value, bool) else value
    if number is None or number != int(number) or abs(number) > _MAX_INTEGER:
        return None
    # Text of many digits would lose some as a float.
    return int(value) if isinstance(value, str) and value.lstrip("-").isdecimal() else int(number)


def _float_of(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _text_of(value: Any) -> str:
    try:
        return _encode(value).decode()
    except (UnicodeEncodeError, msgspec.EncodeError, OverflowError):
        return json.dumps(value)


def _inner(text: str) -> tuple[Any, bool]:
    """What browsers' events have as text: its object; else the text itself. And whether it is an object."""
    found = parse_json(text) if text.lstrip().startswith("{") else None
    return (found, True) if isinstance(found, dict) else (text, False)


def _simeons_course(course_id: str | None) -> str | None:
    """``course-v1:MITx+6.002x+2026`` as ``MITx/6.002x/2026``, which is how simeon's tables have it."""
    return None if course_id is None else "/".join(course_id.rpartition(":")[2].replace("+", "/").split("/")[:3])


def _module_of(payload: Any, context: Any) -> str | None:
    """The block that the event is of, as ``MITx/6.002x/2026/problem/p1``; None where it names none."""
    payload = payload if isinstance(payload, dict) else {}
    module = context.get("module") if isinstance(context, dict) else None
    usage_key = module.get("usage_key") if isinstance(module, dict) else None
    for name in (usage_key, payload.get("id"), payload.get("problem_id")):
        if isinstance(name, str) and name.startswith("i4x://"):
            return name.removeprefix("i4x://")
        if isinstance(name, str) and "block-v1:" in name:
            parts = name.rpartition("block-v1:")[2].split("+")
            return "/".join(part.rpartition("@")[2] for part in parts[:5])
    return None
