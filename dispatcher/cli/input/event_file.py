"""Given: events that a person hands to a command in a file, as emit would take them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from dispatcher.cli.input.times import recorded_moment
from dispatcher.emit.encoding import own_context
from dispatcher.emit.ids import IdSource
from dispatcher.errors import DropEvent, InvalidEventError
from dispatcher.event import Event, EventType, decode

if TYPE_CHECKING:
    from dispatcher.emit.encoding import EventEncoder

# What is JSON lines whatever it holds; one line in it is a list of one.
_LINES: Final = (".jsonl", ".ndjson")
# What a whole event may hold. `time` is what other recorders call the timestamp.
_FIELDS: Final = frozenset({"id", "type", "name", "timestamp", "time", "data", "context"})
_TYPES: Final = get_args(EventType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One event of the file.

    Args:
        event: As destinations get it, processors and all; as it was given where a processor dropped it.
        place: The file, and the line where it has several.
        dropped: Why a processor dropped it; None where none did.
    """

    event: Event
    place: str
    dropped: str | None = None


@dataclass(frozen=True, slots=True)
class GivenFile:
    """The events of one file, and whether it can hold several, so that what is said of them is a list."""

    events: tuple[Given, ...]
    several: bool


def read_given(
    where: str, content: bytes, name: str | None, encoder: EventEncoder, *, happens_now: bool = False
) -> GivenFile:
    """The events of a file: one JSON object, or JSON lines.

    Args:
        where: What the file is called in errors; its ending says whether it is JSON lines.
        content: What it holds.
        name: What events are called of which the file holds the data only.
        encoder: Emit's own, with the processors of the settings.
        happens_now: Whether each is taken as if it happened now, whatever it says itself.

    Raises:
        ValueError: Something is no event. It names the file, the line and the way out, and shows no data.
    """
    reader = _Reader(name, encoder, happens_now=happens_now)
    records, several = _records(where, content)
    events = tuple(reader.read(place, record) for place, record in records)
    if not events:
        raise ValueError(f'{where}: it is empty: give an event such as {{"name": "shop.paid", "data": {{}}}}')
    return GivenFile(events, several)


def _records(where: str, content: bytes) -> tuple[list[tuple[str, Any]], bool]:
    if not where.endswith(_LINES):
        try:
            return ([(where, _parsed(content))] if content.strip() else []), False
        except json.JSONDecodeError as error:
            # One whole value and then another one: JSON lines under another name.
            if error.msg != "Extra data":
                message = f"{where}:{error.lineno}: it is not JSON ({error.msg}, column {error.colno}): mend that"
                raise ValueError(message) from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: it is not JSON ({type(error).__name__}): write it as UTF-8") from None
    return list(_lines(where, content)), True


def _lines(where: str, content: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(content.splitlines(), start=1):
        place = f"{where}:{number}"
        try:
            if line.strip():
                yield place, _parsed(line)
        except json.JSONDecodeError as error:
            message = f"{place}: it is not JSON ({error.msg}, column {error.colno}): each line is one JSON object"
            raise ValueError(message) from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: it is not JSON ({type(error).__name__}): write it as UTF-8") from None


def _parsed(content: bytes) -> Any:
    # utf-8-sig: some editors begin a file with a mark of its encoding.
    return json.loads(content.decode("utf-8-sig"))


class _Reader:
    """Makes events of JSON values."""

    def __init__(self, name: str | None, encoder: EventEncoder, *, happens_now: bool) -> None:
        self._name = name
        self._encoder = encoder
        self._happens_now = happens_now
        self._ids = IdSource()

    def read(self, place: str, record: Any) -> Given:
        try:
            if not isinstance(record, dict):
                kind = "a list" if isinstance(record, list) else "no object"
                raise ValueError(f"it is {kind}: give a JSON object, an event or its data; several as JSON lines")
            event = self._event(record)
            return self._taken(event, place)
        except ValueError as error:  # InvalidEventError is one
            raise ValueError(f"{place}: {error}") from None

    def _event(self, record: dict[str, Any]) -> Event:
        if not self._is_whole(record):
            record = {"data": record}
        kind = record.get("type", "event")
        if kind not in _TYPES:
            raise ValueError(f"the type {str(kind)[:80]!r} is none of {', '.join(_TYPES)}; leave it out")
        moment = None if self._happens_now else record.get("timestamp", record.get("time"))
        context = record.get("context")
        event_id = record.get("id")
        return Event(
            id=self._ids.new() if event_id is None else event_id,
            type=kind,
            name=self._called(record.get("name")),
            timestamp=datetime.now(UTC) if moment is None else recorded_moment(moment),
            data=record.get("data"),
            context={} if context is None else context,
        )

    def _is_whole(self, record: dict[str, Any]) -> bool:
        """Whether it is a whole event, rather than the data of the one that was named."""
        if self._name is None:
            return True
        has_contents = "data" in record or "context" in record
        return has_contents and (isinstance(record.get("name"), str) or record.keys() <= _FIELDS)

    def _called(self, own: Any) -> Any:
        if own is None and self._name is None:
            raise ValueError(
                'it has no "name": give it one, or say NAME on the command line where this is its data only'
            )
        if own is not None and self._name not in (None, own):
            raise ValueError(f"the event is called {str(own)[:80]!r}: leave out NAME, {self._name!r}")
        # What is no text is the encoder's to refuse, as in emit.
        return own if own is not None else str(self._name)

    def _taken(self, event: Event, place: str) -> Given:
        bound = own_context(event.name, event.context)
        try:
            payload = self._encoder.encode(event.id, event.type, event.name, event.data, event.timestamp, bound)
        except DropEvent as drop:
            return Given(event=event, place=place, dropped=str(drop.reason))
        except InvalidEventError as error:
            raise ValueError(str(error)) from None
        return Given(event=decode(payload), place=place)
