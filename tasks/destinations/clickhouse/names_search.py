"""NamesSearch: the query that finds the rows in which names of a person stand, and what tells such a row. Pure.

The names go to the server as a table that lives as long as the query, so that neither addresses nor queries, of which
servers and proxies keep logs, have any: https://clickhouse.com/docs/engines/table-engines/special/external-data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.forgetting.search import LineSearch, forms_of
from dispatcher.tasks.destinations.clickhouse.sql_text import quote

if TYPE_CHECKING:
    from dispatcher.forgetting.person import Person
    from dispatcher.tasks.destinations.clickhouse.row import Shape

#: What the server calls the table of patterns.
PATTERNS: Final = "names"
# What may stand before a name, as `dispatcher forget` looks for it in logs: nothing, another sign, an escape.
_BEFORE: Final = r"(?:^|[^0-9A-Za-z]|\\[a-z]|%[0-9A-Fa-f]{2})"
# A number is rarely a person's within a time or another number, such as 12:42:05 or 3.42.
_BEFORE_NUMBER: Final = r"(?:^|[^0-9A-Za-z:.+\-]|(?:^|[^0-9])[:.+\-]|\\[a-z]|%[0-9A-Fa-f]{2})"
_BEHIND: Final = r"(?:$|[^0-9A-Za-z])"
# Types of columns in which nobody's name can be.
_NAMELESS: Final = ("Date", "UUID", "Bool", "Enum", "Float", "Decimal")
# Columns whose text is JSON.
_OF_JSON: Final = frozenset({"data", "context"})


class Column(msgspec.Struct, frozen=True):
    """A column of the table, as DESCRIBE has it.

    Args:
        name: Its name.
        type: Its type.
        default_type: ``ALIAS`` and the like; empty for most.
    """

    name: str
    type: str
    default_type: str = ""

    @property
    def quoted(self) -> str:
        """Its name in SQL."""
        escaped = self.name.replace("\\", "\\\\").replace("`", "\\`")
        return f"`{escaped}`"


class NamesSearch:
    """Finds one person's rows in tables of one shape.

    Args:
        table: The table's name.
        shape: Its shape.
        person: Who is looked for.
    """

    def __init__(self, table: str, shape: Shape, person: Person) -> None:
        self._table = table
        self._person = person
        self._lines = LineSearch(person)
        is_events = shape == "events"
        # In microseconds, or seconds, since 1970; and what tells a row from others of the same time.
        self._time = "toUnixTimestamp64Micro(toDateTime64(timestamp, 6))" if is_events else "toUInt32(time)"
        self._key = "id" if is_events else "hex(sipHash128(message))"
        self._column = "timestamp" if is_events else "time"
        self._moment = "fromUnixTimestamp64Micro(toInt64({}), 'UTC')" if is_events else "toDateTime({})"

    def query(self, columns: Sequence[Column], behind: tuple[int, str] | None, limit: int) -> str:
        """The query for rows in which a name may stand: the first ones behind a time and a key.

        Args:
            columns: All that the table has.
            behind: The last row that was found before; None for none.
            limit: The most rows.
        """
        searched = [one for one in columns if not one.type.startswith(_NAMELESS) and one.default_type != "EPHEMERAL"]
        pattern = f"(SELECT any(pattern) FROM {PATTERNS})"  # noqa: S608 - no name of anybody's
        found = " OR ".join(f"match(toString({one.quoted}), {pattern})" for one in searched)
        chosen = ", ".join([f"{self._time} AS `~time`", f"{self._key} AS `~key`", *(one.quoted for one in searched)])
        rest = "1"
        if behind is not None:
            time, key = behind
            rest = f"{self._since(time)} AND ({self._time}, {self._key}) > ({time}, {quote(key)})"
        # The table is a word by its pattern, columns and the key are quoted.
        return (
            f"SELECT {chosen} FROM {self._table} WHERE {rest} AND ({found}) "  # noqa: S608
            f"ORDER BY {self._column}, {self._key} LIMIT {limit} FORMAT JSONEachRow"
        )

    def deletion(self, rows: Sequence[tuple[int, str]]) -> str:
        """What deletes rows, on all replicas, by their times and keys: the server keeps what it was told to delete."""
        first, last = min(time for time, _ in rows), max(time for time, _ in rows)
        keys = ", ".join(quote(key) for _, key in rows)
        chosen = f"{self._since(first)} AND {self._time} <= {last} AND {self._key} IN ({keys})"
        return f"ALTER TABLE {self._table} DELETE WHERE {chosen} SETTINGS mutations_sync = 2"

    def _since(self, time: int) -> str:
        """What spares the server the parts before a time."""
        return f"{self._column} >= {self._moment.format(time)}"

    def body(self) -> tuple[bytes, str]:
        """The table of patterns, as a form with a file; and the header that says so."""
        boundary = token_hex(16)
        row = msgspec.json.encode({"pattern": self._pattern()})
        head = f'Content-Disposition: form-data; name="{PATTERNS}"; filename="{PATTERNS}"\r\n'
        head = f"--{boundary}\r\n{head}Content-Type: application/x-ndjson\r\n\r\n"
        return head.encode() + row + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"

    def is_named_in(self, row: Mapping[str, Any]) -> bool:
        """Whether a row that was found names the person indeed."""
        line = dict(row)
        # A line of the log, which may be broken where another program has inserted it.
        if isinstance(message := line.pop("message", None), str) and self._lines.is_named_in(message.encode()):
            return True
        for name in _OF_JSON.intersection(line):
            with suppress(ValueError, TypeError, RecursionError):
                line[name] = json.loads(line[name])
        return self._person.is_named_in(line)

    def _pattern(self) -> str:
        names = sorted(self._person.identifiers)
        numbers = [name for name in names if name.isdecimal()]
        emails = [re.escape(form) for name in names if "@" in name for form in forms_of(name)]
        others = [
            re.escape(form) for name in names if not name.isdecimal() and "@" not in name for form in forms_of(name)
        ]
        parts = []
        if numbers:
            parts.append(f"{_BEFORE_NUMBER}(?:{'|'.join(numbers)}){_BEHIND}")
        if others:
            parts.append(f"{_BEFORE}(?:{'|'.join(others)}){_BEHIND}")
        if emails:
            parts.append(f"(?i:{'|'.join(emails)})")
        return "|".join(parts)
