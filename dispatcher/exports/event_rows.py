"""EventRows: records as rows of typed columns, named as in edX's own table of events where that has them.

Column by column, and some thousand rows at a time: fewer, and Arrow's calls cost more than the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import accumulate
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from dispatcher.edx_log.record import LineProblem, Record, RecordContext
from dispatcher.edx_log.records import Records, read_records
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
#: Lines of a batch.
BATCH_ROWS: Final = 4_096
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
        problem: Why.
    """

    number: int
    line: bytes | None
    problem: LineProblem


class EventRows:
    """Lines of one log, until they are taken as a batch of rows. For one thread.

    Args:
        source_file: The log's name, for ``source_file``.
    """

    def __init__(self, source_file: str) -> None:
        self._source_file: Final = source_file
        self._lines: list[bytes | None] = []
        self._numbers: list[int] = []
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether it is time for ``take``."""
        return len(self._lines) >= BATCH_ROWS or self._bytes >= BATCH_BYTES

    def add(self, lines: Sequence[bytes | None], first_number: int) -> int:
        """Add lines until it is full.

        Args:
            lines: None is one that was too long.
            first_number: The number of the first.

        Returns:
            How many were added: at least one, unless it was full.
        """
        some = lines[: BATCH_ROWS - len(self._lines)]
        size = sum(map(len, filter(None, some)))
        if self._bytes + size > BATCH_BYTES:
            some = some[: self._fitting(some)]
            size = sum(map(len, filter(None, some)))
        self._lines += some
        self._numbers += range(first_number, first_number + len(some))
        self._bytes += size
        return len(some)

    def _fitting(self, lines: Sequence[bytes | None]) -> int:
        """How many lines there are up to the one with which it is full."""
        size = self._bytes
        for count, line in enumerate(lines):
            if size >= BATCH_BYTES:
                return count
            size += len(line or b"")
        return len(lines)

    def take(self) -> tuple[pa.RecordBatch, list[Refused]]:
        """The rows of all lines that were added and not taken yet, in their order, and what did not become one.

        Takes some ten microseconds for each line.

        Returns:
            Rows with the columns of ``SCHEMA``, and the lines that cannot be read as a record or have no usable time.
        """
        lines, numbers = self._lines, self._numbers
        self._lines, self._numbers, self._bytes = [], [], 0
        found = read_records(lines)
        broken = found.broken
        timestamps = _timestamps([record.time for record in found.records])
        usable: pa.Array | None = None
        if timestamps is None:
            timestamps, unusable = _each_timestamp(found.records)
            broken += [(found.places[place], problem) for place, problem in unusable]
            broken.sort(key=lambda one: one[0])
            usable = timestamps.is_valid()
        batch = pa.RecordBatch.from_arrays(self._columns(found, numbers, timestamps), schema=SCHEMA)
        refused = [Refused(numbers[place], lines[place], problem) for place, problem in broken]
        return batch if usable is None else batch.filter(usable), refused

    def _columns(self, found: Records, numbers: Sequence[int], timestamps: pa.Array) -> list[pa.Array]:
        records, contexts = found.records, found.contexts
        courses = list(map(_course_of, records, contexts))
        events = [bytes(record.event) for record in records]
        payloads = list(map(_payload_of, events))
        columns: dict[str, Sequence[Any]] = {
            "event_id": found.ids,
            "received_at": [context.received_at and _optional_timestamp(context.received_at) for context in contexts],
            "user_id": [_text_of(context.user_id) for context in contexts],
            "username": [record.username or None for record in records],
            "anonymous_id": [payload.anonymous_id for payload in payloads],
            "session": [record.session or None for record in records],
            "event_type": [record.event_type for record in records],
            "name": [record.name for record in records],
            "emitter_type": [record.event_source for record in records],
            "course_id": [course for course, _ in courses],
            "org_id": [organisation for _, organisation in courses],
            "label": [payload.label for payload in payloads],
            "category": [payload.category for payload in payloads],
            "url": [payload.url for payload in payloads],
            "page": [record.page for record in records],
            "referrer": [record.referer or None for record in records],
            "host": [record.host or None for record in records],
            "ip": [record.ip or None for record in records],
            "agent": [record.agent or None for record in records],
            "accept_language": [record.accept_language or None for record in records],
            "line_number": [numbers[place] for place in found.places],
        }
        arrays = {name: _array(column, SCHEMA.field(name).type) for name, column in columns.items()}
        arrays["timestamp"] = timestamps
        arrays["event"] = _json_array(events)
        arrays["context"] = _json_array([bytes(record.context) for record in records])
        arrays["source_file"] = pa.repeat(pa.scalar(self._source_file, pa.string()), len(records))
        return [arrays[name] for name in SCHEMA.names]


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


def _json_array(column: Sequence[bytes]) -> pa.Array:
    """Texts that are known to be UTF-8; what is empty becomes null."""
    if not all(column):
        return pa.array([one or None for one in column], pa.string())
    ends = pa.array(accumulate(map(len, column), initial=0), pa.int32())
    return pa.StringArray.from_buffers(len(column), ends.buffers()[1], pa.py_buffer(b"".join(column)))


def _text_of(user_id: str | int | None) -> str | None:
    return user_id if user_id is None or type(user_id) is str else str(user_id)


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


def _each_timestamp(records: Sequence[Record]) -> tuple[pa.Array, list[tuple[int, LineProblem]]]:
    """Times as Python reads them, null where one is unusable; and the places of those, and why."""
    found = [None if not record.time else _optional_timestamp(record.time) for record in records]
    unusable: list[tuple[int, LineProblem]] = [
        (place, "bad_time" if records[place].time else "no_time")
        for place, timestamp in enumerate(found)
        if timestamp is None
    ]
    return pa.array(found, _TIME), unusable


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
