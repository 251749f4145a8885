"""EdxLine: the fields of one line of edX's tracking log, in their order, and where each of them comes from. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

import msgspec

from dispatcher.edx_log.legacy import PREFIXES, to_legacy
from dispatcher.edx_log.python_json import dump
from dispatcher.event import to_utc

#: Where a line has its event's id, within the context.
ID_KEY: Final = "event_id"

_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)")


class EdxLine(msgspec.Struct, gc=False):
    """The fields in the order in which edX's processors happen to leave them. What is UNSET is left out."""

    name: Any
    context: dict[str, Any]
    username: Any
    session: Any
    ip: Any
    agent: Any
    host: Any
    referer: Any
    accept_language: Any
    event: Any
    time: Any
    event_type: Any
    event_source: Any
    page: Any


def make_line(name: Any, data: Any, context: dict[str, Any], time: Any) -> EdxLine:
    """Put an event's fields where edX's older readers expect them.

    Args:
        name: The event's name, as ``data`` and ``time`` perhaps UNSET.
        data: The event's data.
        context: The event's context. What stands elsewhere in the line is taken out of it.
        time: The event's timestamp as ``isoformat`` writes it.
    """
    pop = context.pop
    source = pop("event_source", "server")
    # edX's tracker takes every empty value for no data.
    event = data or {}
    if source == "browser" and type(event) is dict:
        event = dump(event).decode()
    pop("client_id", None)
    # Beside edX's own fields: by which deprecated call of a page it came, and through which source.
    pop("deprecated_call", None)
    pop("collector_source", None)
    pop("collector_mailbox", None)
    return EdxLine(
        name,
        context,
        pop("username", ""),
        pop("session", ""),
        pop("ip", ""),
        pop("agent", ""),
        pop("host", ""),
        pop("referer", ""),
        pop("accept_language", ""),
        event,
        _take_device_time(context) if "timestamp" in context else time,
        pop("event_type", name),
        source,
        pop("page", None),
    )


def write_line(line: EdxLine) -> bytes:
    """The line as JSON, in its legacy form where edX uses one."""
    form = to_legacy(line.name, line.event, line.context) if line.name.startswith(PREFIXES) else None
    if form is None:
        return dump(line)
    line.name = form.name
    line.event = form.event
    line.event_type = line.event_type if form.event_type is None else form.event_type
    line.page = line.page if form.page is None else form.page
    # The rules may have computed numbers, which the decoder has not seen.
    return json.dumps(msgspec.structs.asdict(line)).encode()


def isoformat(timestamp: str) -> str:
    """A timestamp as ``datetime.isoformat`` writes it in UTC: ``+00:00`` for Z, no fraction where it is zero.

    Raises:
        ValueError: It is not a timestamp.
        OverflowError: It is out of range in UTC.
    """
    if timestamp[-1:] == "Z" and (len(timestamp) == 20 or (len(timestamp) == 27 and timestamp[-7:] != "000000Z")):
        return timestamp[:-1] + "+00:00"
    return to_utc(datetime.fromisoformat(timestamp)).isoformat()


def _take_device_time(context: dict[str, Any]) -> Any:
    """The time that a mobile event says of itself. edX holds it, and when it was received, as datetimes."""
    if "received_at" in context:
        context["received_at"] = _normalise(context["received_at"])
    return _normalise(context.pop("timestamp"))


def _normalise(value: Any) -> Any:
    if not isinstance(value, str) or not _TIMESTAMP.fullmatch(value):
        return value
    try:
        return isoformat(value)
    except (ValueError, OverflowError):
        return value
