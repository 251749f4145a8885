"""Event file: events that a person gives to a command in a file, read in the same way by each command."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Final, cast

from dispatcher.cli.input.times import parse_timestamp
from dispatcher.config.spelling import nearest
from dispatcher.edx_log.source import READ_ERRORS, Line, Source
from dispatcher.event import DIRECT_TYPES, EventType

# Such a file holds JSON lines, and what is printed about it is a list, even with one line.
_LINES: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
# The keys of a whole event. Other recorders call the timestamp `time`.
_FIELDS: Final = ("id", "type", "name", "timestamp", "time", "data", "context")
# As large as an event can be: a file with more, and with a mistake in its first line, is taken for JSON lines.
_MAX_DOCUMENT_BYTES: Final = 32 << 20
_TYPES: Final = ("event", *sorted(DIRECT_TYPES))
# What Tutor's logging puts before a line.
_TRACKING_MARK: Final = b" [tracking] "
# Unknown keys that an error names.
_MAX_NAMED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """One event of a file, with all that it brings; nothing but its form was checked.

    Args:
        place: The file, and the line if the file has several.
        type: ``event``, or one of Segment's own calls.
        name: Its name, or the one given on the command line.
        data: As in the file.
        context: As in the file; None if it has none.
        timestamp: In UTC; None if it has none.
        id: As in the file; None if it has none.
    """

    place: str
    type: EventType
    name: Any
    data: Any
    context: Any
    timestamp: datetime | None
    id: Any


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A line, or a whole file, that is not an event.

    Args:
        place: The file, and the line if the file has several.
        reason: What is wrong and what to do, without any value of the file.
    """

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


class EventFile:
    """A file with one event as a JSON object, over any number of lines, or with several as JSON lines.

    It is read once, line by line, in one thread; it may be compressed with gzip. A bad line stands in nobody's way.

    Args:
        source: Where it is; open while it is read.
        name: The name of the events, if the file holds only their data.
    """

    def __init__(self, source: Source, name: str | None = None) -> None:
        self._source = source
        self._name = name
        #: Whether it holds several events, so that answers about it are a list. Known once all was read.
        self.is_list = source.name.endswith(_LINES)

    def __iter__(self) -> Iterator[RecordedEvent | BadRecord]:
        count = 0
        for count, (place, content) in enumerate(self._records(), start=1):
            self.is_list = self.is_list or count > 1
            yield content if isinstance(content, BadRecord) else self._read(place, content)
        if not count:
            yield BadRecord(self._source.name, 'it is empty: give an event such as {"name": "shop.paid", "data": {}}')

    def _records(self) -> Iterator[tuple[str, bytes | BadRecord]]:
        """The JSON of each record, or why it cannot be read; with its place."""
        lines = self._lines()
        head, is_value = self._read_head(lines)
        if is_value:
            yield self._source.name, b"".join(line.content for line in head if isinstance(line, Line))
            return
        for line in chain(head, lines):
            place = f"{self._source.name}:{line.number}" if isinstance(line, Line) else line.place
            if isinstance(line, BadRecord):
                yield place, line
            elif line.content.strip():
                yield place, BadRecord(place, _TOO_LONG) if line.is_too_long else line.content

    def _lines(self) -> Iterator[Line | BadRecord]:
        """The lines, and at the end why the file cannot be read on, if so."""
        try:
            yield from self._source.lines()
        except READ_ERRORS as error:
            place = f"{self._source.name}:{self._source.line_number}"
            yield BadRecord(place, f"the file cannot be read on behind this line: {str(error) or type(error).__name__}")

    def _read_head(self, lines: Iterator[Line | BadRecord]) -> tuple[list[Line | BadRecord], bool]:
        """The lines up to where it shows whether the file is one JSON value, over one line or several; and whether."""
        head: list[Line | BadRecord] = []
        opening = b""
        is_whole = False  # whether the first line is a value
        for line in lines:
            head.append(line)
            if self.is_list or isinstance(line, BadRecord) or line.is_too_long or line.end > _MAX_DOCUMENT_BYTES:
                return head, False
            content = line.content.removeprefix(BOM_UTF8)
            if not content.strip():
                continue
            if not opening:
                opening = content.strip()[:1]
                is_whole = _is_json(content) or _TRACKING_MARK in content or _is_tracking_line(_after_prefix(content))
            # In a list, each item may have a line of its own. In an object, none stands in the first column.
            elif is_whole or (opening != b"[" and content.startswith(b"{") and _is_json(content)):
                return head, False
        return head, bool(opening)

    def _read(self, place: str, content: bytes) -> RecordedEvent | BadRecord:
        try:
            # utf-8-sig: some editors begin a file with a byte order mark.
            record = json.loads(content.decode("utf-8-sig"))
        except json.JSONDecodeError as error:
            if _TRACKING_MARK in content or _is_tracking_line(_after_prefix(content)):
                return BadRecord(place, _TRACKING_LINE)
            where = f"{place}:{error.lineno}" if content.strip().count(b"\n") else place
            return BadRecord(where, f"it is not JSON ({error.msg}, column {error.colno}): {_FORM}")
        except (ValueError, RecursionError) as error:
            return BadRecord(place, f"it is not JSON ({type(error).__name__}): write it as UTF-8. {_FORM}")
        try:
            return self._read_record(place, record)
        except ValueError as error:
            return BadRecord(place, str(error))

    def _read_record(self, place: str, record: Any) -> RecordedEvent:
        if not isinstance(record, dict):
            raise ValueError(f"it is {'a list' if isinstance(record, list) else 'not an object'}: {_FORM}")
        if _is_tracking_line(record):
            raise ValueError(_TRACKING_LINE)
        if not self._is_whole(record):
            record = {"data": record}
        unknown = [key for key in record if key not in _FIELDS]
        if unknown:
            raise ValueError(_describe_unknown(unknown))
        if record.get("timestamp") is not None and record.get("time") is not None:
            raise ValueError("it has a timestamp and a time: keep one of them")
        event_type = record.get("type") or "event"
        if event_type not in _TYPES:
            raise ValueError(f"its type must be one of {', '.join(_TYPES)}; or leave it out")
        given = record.get("timestamp") if record.get("timestamp") is not None else record.get("time")
        return RecordedEvent(
            place=place,
            type=cast("EventType", event_type),
            name=self._event_name(record.get("name")),
            data=record.get("data"),
            context=record.get("context"),
            timestamp=None if given is None else parse_timestamp(given),
            id=record.get("id"),
        )

    def _is_whole(self, record: dict[str, Any]) -> bool:
        """Whether it is a whole event, rather than only the data of an event with the given name."""
        if self._name is None:
            return True
        has_contents = "data" in record or "context" in record
        return has_contents and (isinstance(record.get("name"), str) or record.keys() <= set(_FIELDS))

    def _event_name(self, own: Any) -> Any:
        if own is None and self._name is None:
            raise ValueError('it has no "name": give it one; `explain NAME --with` takes the data of an event alone')
        if own is not None and self._name not in (None, own):
            raise ValueError(f"the name of the event is {str(own)[:80]!r}: leave out NAME, {self._name!r}")
        # A name that is not text is left to the encoder, which refuses it as in emit.
        return own if own is not None else self._name


_FORM: Final = "give each event as one JSON object, and several as JSON lines, plain or compressed with gzip"
_TOO_LONG: Final = "the line has more than 16 MiB, which no event may have: send a reference to the large value"
_TRACKING_LINE: Final = (
    "it is a line of a tracking log, which has other fields than an event: send such a file to a destination with "
    "`dispatcher replay --from FILE --to DESTINATION`; with --dry-run it only counts"
)


def _is_tracking_line(record: Any) -> bool:
    # What edX's oldest lines have too, before events had names; and those that have `data` in place of `event`.
    if not isinstance(record, dict) or not {"event_type", "event_source"} <= record.keys():
        return False
    return not record.keys().isdisjoint(("event", "data", "context", "time"))


def _after_prefix(content: bytes) -> Any:
    """The JSON value behind what Tutor's logging and syslog put before it; None without one."""
    try:
        return json.loads(content[content.find(b"{") :])
    except (ValueError, RecursionError):
        return None


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return True


def _describe_unknown(unknown: list[str]) -> str:
    named = ", ".join(repr(key[:40]) for key in unknown[:_MAX_NAMED])
    more = f" and {len(unknown) - _MAX_NAMED:,} more" if len(unknown) > _MAX_NAMED else ""
    close = nearest(unknown[0].lower(), _FIELDS)
    hint = f"did you mean {close!r}? " if close else ""
    return (
        f"unknown {'key' if len(unknown) == 1 else 'keys'} {named}{more}: {hint}An event has "
        f"{', '.join(_FIELDS)}; what else is known of it belongs into its data or context"
    )
