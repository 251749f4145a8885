"""Records: many lines at once, each as ``record`` reads one, with little to do for each in Python. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from dispatcher.edx_log.parse import derived_id
from dispatcher.edx_log.record import (
    BrokenLineError,
    LineProblem,
    Record,
    RecordContext,
    context_of,
    json_of,
    read_record,
)

_decode: Final = msgspec.json.Decoder(Record).decode
_decode_context: Final = msgspec.json.Decoder(RecordContext).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Records(msgspec.Struct, gc=False):
    """The records of some lines, in the lines' order.

    Args:
        places: The place of each record's line among the lines, counted from 0.
        records: The records.
        contexts: What the context of each says.
        ids: The id of each record's event: its own, else one that is made of the line's JSON.
        broken: The place of each line that cannot be read as a record, and why not. Not the errors themselves: each
            refers to all that was being read, which stays in memory where Python does not look for garbage.
    """

    places: list[int]
    records: list[Record]
    contexts: list[RecordContext]
    ids: list[str]
    broken: list[tuple[int, LineProblem]]


def read_records(lines: Sequence[bytes | None]) -> Records:
    """The records of lines. None is one that was too long.

    What takes this way gives what ``read_record`` gives; what is odd in any way is left to that.
    """
    # Without a brace the last byte is left, which is refused.
    bodies = [b"" if line is None else line[line.find(b"{") :] for line in lines]
    decode = _decode if _is_text(bodies) else _decode_text
    places: list[int] = []
    records: list[Record] = []
    broken: list[tuple[int, LineProblem]] = []
    for place, body in enumerate(bodies):
        try:
            record: Record | None = decode(body)
        except _UNREADABLE:
            record = None
        if record is None or not record.event_type:
            try:
                record = _read_line(lines[place])
            except BrokenLineError as error:
                broken.append((place, error.problem))
                continue
        places.append(place)
        records.append(record)
    contexts = _contexts_of(records)
    found = [context.event_id or record.id for context, record in zip(contexts, records, strict=True)]
    ids = [event_id or derived_id(bodies[place].strip()) for event_id, place in zip(found, places, strict=True)]
    return Records(places, records, contexts, ids, broken)


def _is_text(bodies: Sequence[bytes]) -> bool:
    """Whether all of them are text in UTF-8: what is not decoded is not looked at either."""
    joined = b"\n".join(bodies)
    try:
        return joined.isascii() or joined.decode() is not None
    except UnicodeDecodeError:
        return False


def _decode_text(body: bytes) -> Record:
    body.decode()
    return _decode(body)


def _read_line(line: bytes | None) -> Record:
    if line is None:
        raise BrokenLineError("too_long")
    return read_record(json_of(line))


def _contexts_of(records: Sequence[Record]) -> list[RecordContext]:
    try:
        return [_decode_context(record.context) for record in records]
    except _UNREADABLE:
        return [context_of(record) for record in records]
