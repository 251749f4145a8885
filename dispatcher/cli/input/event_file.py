"""Event file: events that a person gives to a command in a file, processed as ``emit`` would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from dispatcher.cli.input.times import parse_timestamp
from dispatcher.emit.encoding import read_context
from dispatcher.emit.ids import IdSource
from dispatcher.errors import DropEvent, InvalidEventError
from dispatcher.event import Event, EventType, decode

if TYPE_CHECKING:
    from dispatcher.emit.encoding import EventEncoder

# Such a file holds JSON lines, and what is printed about it is a list, even with one line.
_LINES: Final = (".jsonl", ".ndjson")
# The keys of a whole event. Other recorders call the timestamp `time`.
_FIELDS: Final = frozenset({"id", "type", "name", "timestamp", "time", "data", "context"})
_TYPES: Final = get_args(EventType)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEvent:
    """One event of a file.

    Args:
        event: As destinations get it, after the processors; as it is in the file if a processor dropped it.
        place: The file, and the line if the file has several.
        dropped: Why a processor dropped it; None if none did.
    """

    event: Event
    place: str
    dropped: str | None = None


@dataclass(frozen=True, slots=True)
class EventFile:
    """The events of one file.

    Args:
        events: In order.
        is_list: Whether the file can hold several, so that answers about it are a list.
    """

    events: tuple[FileEvent, ...]
    is_list: bool


def read_event_file(
    where: str, content: bytes, name: str | None, encoder: EventEncoder, *, happens_now: bool = False
) -> EventFile:
    """The events of a file: one JSON object, or JSON lines.

    Args:
        where: The file's name for errors; its ending says whether it holds JSON lines.
        content: What it holds.
        name: The name of the events, if the file holds only their data.
        encoder: Emit's own, with the processors of the settings.
        happens_now: Whether the time of each event is now, whatever timestamp it has.

    Raises:
        ValueError: Something is not an event. The message names the file, the line and the remedy, and shows no data.
    """
    reader = _Reader(name, encoder, happens_now=happens_now)
    records, is_list = _read_records(where, content)
    events = tuple(reader.read(place, record) for place, record in records)
    if not events:
        raise ValueError(f'{where}: it is empty: give an event such as {{"name": "shop.paid", "data": {{}}}}')
    return EventFile(events, is_list)


def _read_records(where: str, content: bytes) -> tuple[list[tuple[str, Any]], bool]:
    if not where.endswith(_LINES):
        try:
            return ([(where, _parse(content))] if content.strip() else []), False
        except json.JSONDecodeError as error:
            # Another value behind a whole one: these are JSON lines, in a file with another ending.
            if error.msg != "Extra data":
                message = f"{where}:{error.lineno}: it is not JSON ({error.msg}, column {error.colno}): mend that"
                raise ValueError(message) from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: it is not JSON ({type(error).__name__}): write it as UTF-8") from None
    return list(_read_lines(where, content)), True


def _read_lines(where: str, content: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.splitlines(), start=1):
        place = f"{where}:{number}"
        try:
            if line.strip():
                yield place, _parse(line)
        except json.JSONDecodeError as error:
            message = f"{place}: it is not JSON ({error.msg}, column {error.colno}): each line is one JSON object"
            raise ValueError(message) from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: it is not JSON ({type(error).__name__}): write it as UTF-8") from None


def _parse(content: bytes) -> Any:
    # utf-8-sig: some editors begin a file with a byte order mark.
    return json.loads(content.decode("utf-8-sig"))


class _Reader:
    """Makes events of JSON values."""

    def __init__(self, name: str | None, encoder: EventEncoder, *, happens_now: bool) -> None:
        self._name = name
        self._encoder = encoder
        self._happens_now = happens_now
        self._ids = IdSource()

    def read(self, place: str, record: Any) -> FileEvent:
        try:
            if not isinstance(record, dict):
                type_ = "a list" if isinstance(record, list) else "not an object"
                raise ValueError(f"it is {type_}: give a JSON object, an event or its data; several as JSON lines")
            return self._encode(self._event(record), place)
        except ValueError as error:  # InvalidEventError is one
            raise ValueError(f"{place}: {error}") from None

    def _event(self, record: dict[str, Any]) -> Event:
        if not self._is_whole(record):
            record = {"data": record}
        event_type = record.get("type", "event")
        if event_type not in _TYPES:
            raise ValueError(f"the type {str(event_type)[:80]!r} must be one of {', '.join(_TYPES)}; or leave it out")
        timestamp = None if self._happens_now else record.get("timestamp", record.get("time"))
        context = record.get("context")
        event_id = record.get("id")
        return Event(
            id=self._ids.new() if event_id is None else event_id,
            type=event_type,
            name=self._event_name(record.get("name")),
            timestamp=datetime.now(UTC) if timestamp is None else parse_timestamp(timestamp),
            data=record.get("data"),
            context={} if context is None else context,
        )

    def _is_whole(self, record: dict[str, Any]) -> bool:
        """Whether it is a whole event, rather than only the data of an event with the given name."""
        if self._name is None:
            return True
        has_contents = "data" in record or "context" in record
        return has_contents and (isinstance(record.get("name"), str) or record.keys() <= _FIELDS)

    def _event_name(self, own: Any) -> Any:
        if own is None and self._name is None:
            raise ValueError(
                'it has no "name": give it one, or NAME on the command line if this is only the data of an event'
            )
        if own is not None and self._name not in (None, own):
            raise ValueError(f"the name of the event is {str(own)[:80]!r}: leave out NAME, {self._name!r}")
        # A name that is not text is left to the encoder, which refuses it as in emit.
        return own if own is not None else str(self._name)

    def _encode(self, event: Event, place: str) -> FileEvent:
        bound = read_context(event.name, event.context)
        try:
            payload = self._encoder.encode(event.id, event.type, event.name, event.data, event.timestamp, bound)
        except DropEvent as drop:
            return FileEvent(event=event, place=place, dropped=str(drop.reason))
        except InvalidEventError as error:
            raise ValueError(str(error)) from None
        return FileEvent(event=decode(payload), place=place)
