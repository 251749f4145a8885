"""EventRow: a record as one row of typed columns, named as in edX's own table of events where that has them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import pyarrow as pa

from dispatcher.edx_log.record import BrokenLineError, Record, RecordContext, context_of, id_of, json_of, read_record
from dispatcher.event import to_utc
from dispatcher.request.course import course_fields

_TIME: Final = pa.timestamp("us", tz="UTC")

#: In this order. ``event`` and ``context`` are JSON text, to the byte as in the log; a struct would have a field for
#: each key that any event ever had.
SCHEMA: Final = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("timestamp", _TIME, nullable=False),
        pa.field("received_at", _TIME),
        pa.field("user_id", pa.string()),
        pa.field("username", pa.string()),
        pa.field("anonymous_id", pa.string()),
        pa.field("session", pa.string()),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("name", pa.string()),
        pa.field("emitter_type", pa.string()),
        pa.field("course_id", pa.string()),
        pa.field("org_id", pa.string()),
        pa.field("label", pa.string()),
        pa.field("category", pa.string()),
        pa.field("url", pa.string()),
        pa.field("page", pa.string()),
        pa.field("referrer", pa.string()),
        pa.field("host", pa.string()),
        pa.field("ip", pa.string()),
        pa.field("agent", pa.string()),
        pa.field("accept_language", pa.string()),
        pa.field("event", pa.string()),
        pa.field("context", pa.string()),
        pa.field("source_file", pa.string(), nullable=False),
        pa.field("line_number", pa.int64(), nullable=False),
    ]
)
#: Where a row has its time.
TIMESTAMP_AT: Final = SCHEMA.get_field_index("timestamp")
_COURSE_AT: Final = SCHEMA.get_field_index("course_id")


class _Payload(msgspec.Struct, gc=False):
    """What a payload may say that has a column of its own."""

    anonymous_id: str | None = None
    label: str | None = None
    category: str | None = None
    url: str | None = None


_NOTHING: Final = _Payload()
_decode_payload: Final = msgspec.json.Decoder(_Payload).decode
_decode_text: Final = msgspec.json.Decoder(str).decode

Row = tuple[Any, ...]


def row_of(line: bytes, source_file: str, line_number: int) -> Row:
    """The row of a line: a value for each column of ``SCHEMA``. Pure; takes some 5 µs.

    Raises:
        BrokenLineError: The line cannot be read as a record, or has no usable time.
    """
    body = json_of(line)
    record = read_record(body)
    context = context_of(record)
    event = bytes(record.event)
    payload = _payload_of(event)
    course_id, org_id = context.course_id, context.org_id
    if not course_id or not org_id:
        course_id, org_id = _course_of(record, context)
    user_id = context.user_id
    return (
        id_of(record, context, body),
        _timestamp_of(record.time),
        None if context.received_at is None else _optional_timestamp(context.received_at),
        user_id if user_id is None or type(user_id) is str else str(user_id),
        record.username or None,
        payload.anonymous_id,
        record.session or None,
        record.event_type,
        record.name,
        record.event_source,
        course_id,
        org_id,
        payload.label,
        payload.category,
        payload.url,
        record.page,
        record.referer or None,
        record.host or None,
        record.ip or None,
        record.agent or None,
        record.accept_language or None,
        event or None,
        bytes(record.context) or None,
        source_file,
        line_number,
    )


def sort_key(row: Row) -> tuple[str, datetime, str]:
    """By what the rows of a file are sorted: course, time, id."""
    return row[_COURSE_AT] or "", row[TIMESTAMP_AT], row[0]


def table_of(rows: list[Row]) -> pa.Table:
    """Rows as a table. Takes some microseconds a row."""
    columns = zip(*rows, strict=True)
    return pa.Table.from_arrays(
        [_array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def _array(column: tuple[Any, ...], wanted: pa.DataType) -> pa.Array:
    try:
        return pa.array(column, wanted)
    except UnicodeEncodeError:
        # Half of a pair of surrogates, which Python's JSON takes and no text in a file can be.
        safe = [one.encode(errors="replace").decode() if isinstance(one, str) else one for one in column]
        return pa.array(safe, wanted)


def _timestamp_of(time: str | None) -> datetime:
    if not time:
        raise BrokenLineError("no_time")
    found = _optional_timestamp(time)
    if found is None:
        raise BrokenLineError("bad_time")
    return found


def _optional_timestamp(time: str) -> datetime | None:
    try:
        return to_utc(datetime.fromisoformat(time))
    except (ValueError, OverflowError):
        return None


def _course_of(record: Record, context: RecordContext) -> tuple[str | None, str | None]:
    """Course and organisation: as the context says, else as the page's or the request's address does."""
    if context.course_id:
        return context.course_id, context.org_id or course_fields(None, context.course_id).get("org_id")
    found = course_fields(record.page if record.event_source == "browser" else record.event_type)
    return found.get("course_id"), context.org_id or found.get("org_id")


def _payload_of(event: bytes) -> _Payload:
    """What a payload says: an object, or the text of one, as browsers' events have it."""
    try:
        if event[:1] == b'"':
            event = _decode_text(event).encode()
        return _decode_payload(event) if event[:1] == b"{" else _NOTHING
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _NOTHING
