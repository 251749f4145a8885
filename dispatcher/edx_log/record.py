"""Record: a line of a tracking log as it stands, ``event`` and ``context`` as their JSON, to the byte. Pure.

For who copies many lines into another form. ``read_line`` makes an event of a line instead, for who sends it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar

import msgspec

from dispatcher.edx_log.parse import derived_id

#: Why a line cannot be read, each as it stands in manifests.
LineProblem = Literal["too_long", "not_utf8", "no_object", "not_json", "no_event_type", "no_time", "bad_time"]
#: What each means, for a person.
LINE_PROBLEMS: Final[dict[LineProblem, str]] = {
    "too_long": "it has more bytes than an event can have",
    "not_utf8": "it is not text in UTF-8",
    "no_object": "it holds no JSON object",
    "not_json": "it is not one JSON object from its first brace on: it was cut off, or another line is in it",
    "no_event_type": "it has neither an event_type nor a name",
    "no_time": "it has no time",
    "bad_time": "its time is not a timestamp, or lies outside of the years 1 to 9999",
}
_NOTHING: Final = msgspec.Raw(b"")
_MISSING: Final = (_NOTHING, msgspec.Raw(b"null"))


class BrokenLineError(ValueError):
    """The line cannot be read as a record.

    Args:
        problem: Why, as it is counted.
    """

    def __init__(self, problem: LineProblem) -> None:
        super().__init__(LINE_PROBLEMS[problem])
        self.problem: Final = problem


#: Numbers too, which the slow way makes text of.
Text = str | None


class _Top(msgspec.Struct, gc=False):
    """What edX's lines have at their top, and lines of format ``event`` in their context."""

    event_type: Text = None
    event_source: Text = None
    username: Text = None
    session: Text = None
    ip: Text = None
    agent: Text = None
    host: Text = None
    page: Text = None
    referer: Text = None
    accept_language: Text = None


class Record(_Top, gc=False):
    """What a line says at its top. None is what it does not say, and what it says to be null.

    What should be text and is not, as a number, a list or an object, is the text of its JSON.

    Lines of format ``event`` have their event's data as ``event`` here, and their other fields where edX's lines have
    them.
    """

    name: Text = None
    time: Text = None
    event: msgspec.Raw = _NOTHING
    context: msgspec.Raw = _NOTHING
    # Of lines of format `event`.
    id: Text = None
    timestamp: Text = None
    data: msgspec.Raw = _NOTHING


class RecordContext(msgspec.Struct, gc=False):
    """What a record's context says of who and where. None is what it does not say."""

    event_id: Text = None
    user_id: str | int | None = None
    course_id: Text = None
    org_id: Text = None
    received_at: Text = None


_Fields = TypeVar("_Fields", bound=msgspec.Struct)
_decode: Final = msgspec.json.Decoder(Record).decode
_decode_context: Final = msgspec.json.Decoder(RecordContext).decode
_decode_top: Final = msgspec.json.Decoder(_Top).decode


def json_of(line: bytes) -> bytes:
    """The JSON of a line, without what syslog, Python's logging or Tutor put before it.

    Raises:
        BrokenLineError: It has no brace.
    """
    start = line.find(b"{")
    if start < 0:
        raise BrokenLineError("no_object")
    return line[start:].strip()


def read_record(body: bytes) -> Record:
    """The record of a line's JSON.

    Raises:
        BrokenLineError: The line cannot be read as one.
    """
    try:
        # What is not decoded is not looked at either.
        if not body.isascii():
            body.decode()
        record = _decode(body)
    except UnicodeDecodeError:
        raise BrokenLineError("not_utf8") from None
    except (msgspec.DecodeError, RecursionError):
        record = _read_python_json(body)
    if record.event_type is None and record.data is not _NOTHING:
        _take_event_format(record)
    if record.event_type is None:
        record.event_type = record.name
    if not record.event_type:
        raise BrokenLineError("no_event_type")
    return record


def context_of(record: Record) -> RecordContext:
    """What the record's context says. A context that is not an object says nothing."""
    return _read_context(record, RecordContext, _decode_context)


def id_of(record: Record, context: RecordContext, body: bytes) -> str:
    """The id of the record's event: its own, else one that is made of the line's JSON, the same in every reading."""
    return context.event_id or record.id or derived_id(body)


def _read_python_json(body: bytes) -> Record:
    """Numbers where text should be; and NaN and lone surrogates, which Python's logger writes and msgspec refuses.

    The parts keep their bytes all the same.
    """
    try:
        members = dict(_members(body.decode()))
    except (ValueError, RecursionError):
        raise BrokenLineError("not_json") from None
    fields: dict[str, Any] = {}
    for name in ("event", "context", "data"):
        if name in members:
            fields[name] = msgspec.Raw(members.pop(name)[1].encode(errors="replace"))
    fields |= _known({name: value for name, (value, _) in members.items()}, Record)
    return Record(**fields)


def _members(text: str) -> list[tuple[str, tuple[Any, str]]]:
    """The members of a JSON object: the name of each, its value, and its text. Raises ValueError."""
    decode = json.JSONDecoder().raw_decode
    space = " \t\n\r"
    members = []
    at = len(text) - len(text[1:].lstrip(space))
    while text[at : at + 1] != "}":
        name, at = decode(text, at)
        at = _skip(text, at, ":", space)
        value, end = decode(text, at)
        members.append((str(name), (value, text[at:end])))
        at = end + len(text[end:]) - len(text[end:].lstrip(space))
        if text[at : at + 1] == ",":
            at = _skip(text, at, ",", space)
        elif text[at : at + 1] != "}":
            raise ValueError("neither a comma nor the end of the object")
    if text[at + 1 :].strip(space):
        raise ValueError("more than one object")
    return members


def _skip(text: str, at: int, mark: str, space: str) -> int:
    """The place of what follows a mark and the blanks around it. Raises ValueError where the mark is missing."""
    rest = text[at:].lstrip(space)
    if not rest.startswith(mark):
        raise ValueError(f"{mark} is missing")
    return len(text) - len(rest[1:].lstrip(space))


def _read_context(record: Record, struct: type[_Fields], decode: Callable[[msgspec.Raw], _Fields]) -> _Fields:
    if record.context in _MISSING:
        return struct()
    try:
        return decode(record.context)
    except (msgspec.DecodeError, RecursionError):
        try:
            found = json.loads(bytes(record.context))
        except (ValueError, RecursionError):
            found = None
        return struct(**_known(found, struct)) if isinstance(found, dict) else struct()


def _known(found: dict[str, Any], struct: type[msgspec.Struct]) -> dict[str, str]:
    """What a struct has, as text."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name in struct.__struct_fields__
        if (value := found.get(name)) is not None
    }


def _take_event_format(record: Record) -> None:
    """Move what a line of format ``event`` has elsewhere to where edX's lines have it."""
    record.event, record.time = record.data, record.timestamp
    context = _read_context(record, _Top, _decode_top)
    for name in _Top.__struct_fields__:
        setattr(record, name, getattr(context, name))
    record.event_type = record.event_type or record.name
    record.event_source = record.event_source or "server"
