"""EventRows: records as rows of typed columns, named as in edX's own table of events where that has them.

Column by column, and some thousand rows at a time: what was just decoded is still in the processor's cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import astuple

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
#: Rows of a batch.
BATCH_ROWS: Final = 1_024
#: Bytes of lines of a batch: some lines are megabytes long.
BATCH_BYTES: Final = 64 << 20
# The first and the last moment that Python knows; Arrow knows others.
# In microseconds; Arrow must not be asked at import, which crashes it while an app's test has frozen the time.
_FIRST: Final = -62_135_596_800_000_000
_LAST: Final = 253_402_300_799_999_999


class _Payload(msgspec.Struct, gc=False):
    """What a payload may say that has a column of its own."""

    anonymous_id: str | None = None
    label: str | None = None
    category: str | None = None
    url: str | None = None


_NOTHING: Final = _Payload()
_decode_payload: Final = msgspec.json.Decoder(_Payload).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A line that did not become a row.

    Args:
        number: The line's.
        line: None where it was too long.
        error: Why.
    """

    number: int
    line: bytes | None
    error: BrokenLineError


class EventRows:
    """Lines of one log, until they are taken as a batch of rows. For one thread.

    Args:
        source_file: The log's name, for ``source_file``.
    """

    def __init__(self, source_file: str) -> None:
        self._source_file: Final = source_file
        self._forget()

    def _forget(self) -> None:
        self._numbers: list[int] = []
        self._lines: list[bytes] = []
        self._ids: list[str] = []
        self._records: list[Record] = []
        self._contexts: list[RecordContext] = []
        self._courses: list[tuple[str | None, str | None]] = []
        self._payloads: list[_Payload] = []
        self._events: list[bytes] = []
        self._refused: list[Refused] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time for ``take``."""
        return len(self._numbers) >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def add(self, line: bytes | None, number: int) -> None:
        """Add a line; None is one that was too long. Takes some 5 µs."""
        try:
            if line is None:
                raise BrokenLineError("too_long")
            body = json_of(line)
            record = read_record(body)
            context = context_of(record)
            event_id = id_of(record, context, body)
        except BrokenLineError as error:
            self._refused.append(Refused(number, line, error))
            return
        event = bytes(record.event)
        self._numbers.append(number)
        self._lines.append(line)
        self._ids.append(event_id)
        self._records.append(record)
        self._contexts.append(context)
        self._courses.append(_course_of(record, context))
        self._payloads.append(_payload_of(event))
        self._events.append(event)
        self._bytes += len(line)

    def take(self) -> tuple[pa.RecordBatch, list[Refused]]:
        """The rows of all lines that were added and not taken yet, in their order, and what did not become one.

        Returns:
            Rows with the columns of ``SCHEMA``, and the lines that cannot be read as a record or have no usable time.
        """
        batch, refused = self._batch(), self._refused
        self._forget()
        return batch, sorted(refused, key=lambda one: one.number)

    def _batch(self) -> pa.RecordBatch:
        times = [record.time for record in self._records]
        timestamps = _timestamps(times)
        usable: pa.Array | None = None
        if timestamps is None:
            found = [None if not time else _optional_timestamp(time) for time in times]
            for number, line, time, timestamp in zip(self._numbers, self._lines, times, found, strict=True):
                if timestamp is None:
                    error = BrokenLineError("bad_time" if time else "no_time")
                    self._refused.append(Refused(number, line, error))
            timestamps = pa.array(found, _TIME)
            usable = timestamps.is_valid()
        batch = pa.RecordBatch.from_arrays(self._columns(timestamps), schema=SCHEMA)
        return batch if usable is None else batch.filter(usable)

    def _columns(self, timestamps: pa.Array) -> list[pa.Array]:
        record, context, payload = _Columns(self._records), _Columns(self._contexts), _Columns(self._payloads)
        columns: dict[str, Sequence[Any]] = {
            "event_id": self._ids,
            "received_at": [time if time is None else _optional_timestamp(time) for time in context["received_at"]],
            "user_id": [one if one is None or type(one) is str else str(one) for one in context["user_id"]],
            "username": record.filled("username"),
            "anonymous_id": payload["anonymous_id"],
            "session": record.filled("session"),
            "event_type": record["event_type"],
            "name": record["name"],
            "emitter_type": record["event_source"],
            "course_id": [one[0] for one in self._courses],
            "org_id": [one[1] for one in self._courses],
            "label": payload["label"],
            "category": payload["category"],
            "url": payload["url"],
            "page": record["page"],
            "referrer": record.filled("referer"),
            "host": record.filled("host"),
            "ip": record.filled("ip"),
            "agent": record.filled("agent"),
            "accept_language": record.filled("accept_language"),
            "event": [one or None for one in self._events],
            "context": [bytes(one) or None for one in record["context"]],
            "line_number": self._numbers,
        }
        arrays = {name: _array(column, SCHEMA.field(name).type) for name, column in columns.items()}
        arrays["timestamp"] = timestamps
        arrays["source_file"] = pa.repeat(pa.scalar(self._source_file, pa.string()), len(self._ids))
        return [arrays[name] for name in SCHEMA.names]


class _Columns:
    """The fields of many structs of one kind, each as a column."""

    def __init__(self, structs: Sequence[Any]) -> None:
        names = structs[0].__struct_fields__ if structs else ()
        self._columns: dict[str, tuple[Any, ...]] = dict(
            zip(names, zip(*map(astuple, structs), strict=True), strict=True)
        )

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        return self._columns.get(name, ())

    def filled(self, name: str) -> list[Any]:
        """With None where a text is empty."""
        return [one or None for one in self[name]]


def by_day(batch: pa.RecordBatch) -> Iterator[tuple[date, pa.RecordBatch]]:
    """The rows of each day in UTC, in their order."""
    timestamps = batch.column("timestamp")
    if not len(timestamps):
        return
    first, last = (at.as_py().date() for at in pc.min_max(timestamps).values())
    if first == last:
        yield first, batch
        return
    days = pc.floor_temporal(timestamps, unit="day").cast(pa.date32())
    for day in sorted(pc.unique(days).to_pylist()):
        yield day, batch.filter(pc.equal(days, pa.scalar(day, pa.date32())))


def sorted_rows(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """Rows as a table, sorted by course, time and id."""
    table = pa.Table.from_batches(batches, SCHEMA)
    keys = table.select(["course_id", "timestamp", "event_id"]).combine_chunks()
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending", "at_start") for name in keys.column_names])
    return table.take(order)


def _array(column: Sequence[Any], wanted: pa.DataType) -> pa.Array:
    try:
        return pa.array(column, wanted)
    except UnicodeEncodeError:
        # Half of a pair of surrogates, which Python's JSON takes and no text in a file can be.
        safe = [one.encode(errors="replace").decode() if isinstance(one, str) else one for one in column]
        return pa.array(safe, wanted)


def _timestamps(times: list[str | None]) -> pa.Array | None:
    """All times at once, as Arrow reads them; None where one of them is missing or written in a way of its own."""
    try:
        found = pa.array(times, pa.string()).cast(_TIME)
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return None
    if found.null_count:
        return None
    lowest, highest = pc.min_max(found).values()
    # Compared as numbers: a datetime cannot hold what Python does not know.
    is_known = not len(found) or (lowest.value >= _FIRST and highest.value <= _LAST)
    return found if is_known else None


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
            text = _decode_text(event)
            return _decode_payload(text) if text[:1] == "{" else _NOTHING
        return _decode_payload(event) if event[:1] == b"{" else _NOTHING
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _NOTHING
