"""EventRecord: an event as one row of ``event_records``, the table that edX's pipeline loaded into Vertica. Pure.

Names, order and lengths are those of JsonEventRecord in edx-analytics-pipeline, the rules for values too. Other than
there, lengths count octets, as Vertica's VARCHAR does, and ``raw_event`` stays JSON where it has to be cut.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

from dispatcher.exports.research_package.course_key import parse_course_key
from dispatcher.exports.research_package.rules import payload_of
from dispatcher.exports.warehouse.json_text import parse_json

#: By which rules: edX's to the letter, or its own, which leave out no event.
RulesName = Literal["own", "edx"]


class Column(NamedTuple):
    """A column of the table: its name, its type, and for text how many octets it takes."""

    name: str
    type: str
    octets: int = 0
    not_null: bool = False

    @property
    def definition(self) -> str:
        """As CREATE TABLE has it."""
        kind = f"{self.type}({self.octets})" if self.octets else self.type
        return f"{self.name} {kind}{' NOT NULL' if self.not_null else ''}"


RAW_EVENT: Final = "raw_event"
#: What Vertica's VARCHAR takes, by its manual; above, a column is LONG VARCHAR.
MAX_VARCHAR_OCTETS: Final = 65_000
#: edX's length of raw_event.
RAW_EVENT_OCTETS: Final = 60_000
_TEXT: Final = "VARCHAR"

COLUMNS: Final = [
    Column("timestamp", "TIMESTAMP"),
    Column("received_at", "TIMESTAMP"),
    Column("user_id", _TEXT, 255),
    Column("username", _TEXT, 50),
    Column("anonymous_id", _TEXT, 255),
    Column("event_type", _TEXT, 255, not_null=True),
    Column("course_id", _TEXT, 255),
    Column("org_id", _TEXT, 255),
    Column("label", _TEXT, 511),
    Column("category", _TEXT, 255),
    Column("emitter_type", _TEXT, 255, not_null=True),
    Column("url", _TEXT, 2047),
    Column("referrer", _TEXT, 8191),
    Column("source", _TEXT, 255, not_null=True),
    Column("input_file", _TEXT, 255, not_null=True),
    Column("agent_type", _TEXT, 20),
    Column("agent_device_name", _TEXT, 100),
    Column("agent_os", _TEXT, 100),
    Column("agent_browser", _TEXT, 100),
    Column("agent_touch_capable", "BOOLEAN"),
    Column(RAW_EVENT, _TEXT, RAW_EVENT_OCTETS),
    Column("date", "DATE", not_null=True),
]

#: What is read of the Parquet files, in the order of ``EventRecords.line``.
SOURCE_COLUMNS: Final = [
    *("timestamp", "received_at", "user_id", "username", "anonymous_id", "session", "event_type", "name"),
    *("emitter_type", "course_id", "org_id", "label", "category", "url", "page", "referrer", "host", "ip", "agent"),
    *("accept_language", "event", "context", "source_file"),
]
# Where the event's own name stands for these of the row.
_RAW_NAMES: Final = {"timestamp": "time", "emitter_type": "event_source", "referrer": "referer"}
# What the row has from the payload or from the line's place, and so no field of the event.
_NOT_RAW: Final = {"received_at", "user_id", "anonymous_id", "course_id", "org_id", "label", "category", "url"}
_RAW_COLUMNS: Final = [name for name in SOURCE_COLUMNS if name not in _NOT_RAW | {"source_file"}]
_SOURCE: Final = "tracking_prod"
# Behind what was cut: edX's mark.
_CUT_MARK: Final = "..."
# By edX's rules.
_FIRST_YEAR: Final = 1900
_NULL: Final = "\\N"
# As 2026-01-31 12:00:00.123456, without the zone, which is UTC.
_TIME_CHARACTERS: Final = 26
_ESCAPES: Final = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"}
_ESCAPED: Final = re.compile(r"[\\\t\n\r\0]")
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class EventRecords:
    """Makes lines for COPY of rows, and counts. Use it in one thread.

    Args:
        rules: By which.
        raw_event_octets: The length of ``raw_event``.
    """

    def __init__(self, rules: RulesName, raw_event_octets: int = RAW_EVENT_OCTETS) -> None:
        self._is_edx = rules == "edx"
        self._octets = {column.name: column.octets for column in COLUMNS} | {RAW_EVENT: raw_event_octets}
        self.written = 0
        self.dropped: Counter[str] = Counter()
        self.shortened: Counter[str] = Counter()

    def line(self, row: Sequence[Any]) -> bytes | None:
        """A row of the Parquet files as a line for COPY, with its line break: tabs between the columns, NULL as \\N.

        Args:
            row: The values of ``SOURCE_COLUMNS``.

        Returns:
            The line; None where the rules leave the event out.
        """
        given = dict(zip(SOURCE_COLUMNS, row, strict=True))
        event = parse_json(given["event"])
        payload = payload_of({"event": event})
        if self._is_edx and (reason := _left_out(given, payload)) is not None:
            self.dropped[reason] += 1
            return None
        values = self._values(given, payload or {}) | {RAW_EVENT: self._raw_event(given, event, payload)}
        self.written += 1
        cells = [self._cell(name, values.get(name)) for name in self._octets]
        return ("\t".join(cells) + "\n").encode(errors="replace")

    def _values(self, given: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
        event_type, url = given["event_type"], given["url"]
        if event_type.startswith("/"):
            event_type, url = "edx.server.request", event_type
        username, timestamp = given["username"], given["timestamp"]
        course_id = given["course_id"] or _text(payload.get("course_id"))
        key = parse_course_key(course_id) if course_id else None
        own_org = None if self._is_edx else given["org_id"]
        return {
            **{name: given[name] for name in ("user_id", "anonymous_id", "label", "category", "referrer")},
            "timestamp": timestamp,
            "received_at": given["received_at"] or timestamp,
            "username": username.strip() if username else None,
            "event_type": event_type,
            "course_id": course_id,
            "org_id": _text(payload.get("org_id")) or (key.org if key is not None else own_org),
            "emitter_type": given["emitter_type"] or "",
            "url": url,
            "source": _SOURCE,
            "input_file": given["source_file"],
            "date": timestamp.date().isoformat(),
        }

    def _raw_event(self, given: Mapping[str, Any], event: Any, payload: Mapping[str, Any] | None) -> str:
        raw = {_RAW_NAMES.get(name, name): value for name in _RAW_COLUMNS if (value := given[name]) is not None}
        raw["time"] = given["timestamp"].isoformat(timespec="microseconds")
        if given["event"] is not None:
            raw["event"] = event if payload is None else payload
        if given["context"] is not None:
            raw["context"] = parse_json(given["context"])
        limit = self._octets[RAW_EVENT]
        encoded = _encode_any(raw)
        if len(encoded) > limit:
            self.shortened[RAW_EVENT] += 1
            encoded = _shrink(raw, limit)
        return encoded.decode()

    def _cell(self, name: str, value: Any) -> str:
        if value is None:
            return _NULL
        if type(value) is datetime:
            text = value.isoformat(" ", "microseconds")[:_TIME_CHARACTERS]
            return text if value.year >= _FIRST_YEAR else _NULL
        text = str(value)
        limit = self._octets[name]
        # No character has more than four octets.
        if limit and len(text) * 4 > limit and len(encoded := text.encode(errors="replace")) > limit:
            self.shortened[name] += 1
            # At the border of a character.
            text = encoded[: limit - len(_CUT_MARK) - 1].decode(errors="ignore") + _CUT_MARK
        return _ESCAPED.sub(_escape, text)


def columns_with(raw_event_octets: int) -> list[Column]:
    """The table's columns, with a raw_event of this length."""
    kind = _TEXT if raw_event_octets <= MAX_VARCHAR_OCTETS else "LONG VARCHAR"
    return [Column(RAW_EVENT, kind, raw_event_octets) if one.name == RAW_EVENT else one for one in COLUMNS]


def _left_out(given: Mapping[str, Any], payload: Mapping[str, Any] | None) -> str | None:
    if not given["emitter_type"]:
        return "no_source"
    return "payload_not_an_object" if payload is None else None


def _escape(found: re.Match[str]) -> str:
    return _ESCAPES[found[0]]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _encode_any(value: Any) -> bytes:
    try:
        return _encode(value)
    except (UnicodeEncodeError, msgspec.EncodeError, OverflowError, RecursionError):
        # Half of a pair of surrogates, or a number of more than 64 bits.
        return json.dumps(value, sort_keys=True).encode()


def _shrink(raw: dict[str, Any], limit: int) -> bytes:
    """JSON of at most so many octets: the largest fields give way first, each to how many octets it had."""
    sizes = {name: len(_encode_any(value)) for name, value in raw.items()}
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        raw[name] = {"octets_cut": sizes[name]}
        if len(encoded := _encode_any(raw)) <= limit:
            return encoded
    return b"{}"
