"""Row: what an event becomes in a table, and how a query finds the rows of some events. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from dispatcher.destinations.identifiers import to_id
from dispatcher.edx_log.render import renderer
from dispatcher.event import data_fields, encode
from dispatcher.tasks.destinations.clickhouse.sql_text import quote
from dispatcher.wire import encode_json

if TYPE_CHECKING:
    from dispatcher.event import Event

#: "events": columns of its own. "tracking": time and message, as Aspects' table _tracking has them.
Shape: TypeAlias = Literal["events", "tracking"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# DateTime64(6) begins in 1900 and ends with 2299, DateTime lasts from 1970 to 2106.
_MIN_SECONDS: Final = {"events": -2_208_988_800, "tracking": 0}
_MAX_SECONDS: Final = {"events": 10_413_791_999, "tracking": 4_294_967_295}


class Row(msgspec.Struct, frozen=True, gc=False):
    """An event's id, its time in microseconds since 1970, and its row as JSON."""

    id: str
    microseconds: int
    json: bytes


class Rows:
    """Makes the rows of one shape. Safe in threads."""

    def __init__(self, shape: Shape) -> None:
        self._shape: Final = shape
        self._render = renderer("edx", ids=True)

    def row(self, event: Event) -> Row:
        """The row of an event. Raises one of ``DECODING_ERRORS`` where it cannot be a line of the log."""
        microseconds = (event.timestamp - _EPOCH) // _MICROSECOND
        low, high = _MIN_SECONDS[self._shape] * 1_000_000, _MAX_SECONDS[self._shape] * 1_000_000
        microseconds = min(max(microseconds, low), high)
        fields = _columns(event, microseconds) if self._shape == "events" else self._tracking(event, microseconds)
        return Row(event.id, microseconds, msgspec.json.encode(fields))

    def query(self, table: str, rows: Sequence[Row]) -> str:
        """A query for the ids of those rows that the table has. It reads what is between the first time and the last.

        Args:
            table: The table's name.
            rows: At least one.
        """
        first, last = min(row.microseconds for row in rows), max(row.microseconds for row in rows)
        ids = ", ".join(quote(row.id) for row in rows)
        if self._shape == "events":
            column, times = "id", f"timestamp BETWEEN {_moment(first)} AND {_moment(last)}"
        else:
            column = "JSONExtractString(message, 'context', 'event_id')"
            times = f"time BETWEEN toDateTime({first // 1_000_000}) AND toDateTime({last // 1_000_000})"
        # The table is a word by its pattern, the ids are quoted.
        return f"SELECT DISTINCT {column} AS found FROM {table} WHERE {times} AND found IN ({ids}) FORMAT JSONEachRow"  # noqa: S608

    def _tracking(self, event: Event, microseconds: int) -> dict[str, Any]:
        return {"time": microseconds // 1_000_000, "message": self._render(encode(event)).decode()}


def _columns(event: Event, microseconds: int) -> dict[str, Any]:
    context, data = event.context, data_fields(event)
    return {
        "timestamp": (_EPOCH + microseconds * _MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "id": event.id,
        "name": event.name,
        "user_id": to_id(context.get("user_id")) or "",
        "username": to_id(context.get("username")) or "",
        "session": to_id(context.get("session")) or "",
        "course_id": to_id(context.get("course_id")) or to_id(data.get("course_id")) or "",
        "org_id": to_id(context.get("org_id")) or "",
        "data": encode_json(event.data).decode(),
        "context": encode_json(context).decode(),
    }


def _moment(microseconds: int) -> str:
    return f"fromUnixTimestamp64Micro(toInt64({microseconds}), 'UTC')"
