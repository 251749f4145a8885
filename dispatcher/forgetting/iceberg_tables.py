"""IcebergTables: the tables that this host has exported to, out of which a person is taken with their history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from dispatcher.errors import DispatcherError
from dispatcher.exports.iceberg.address import TableAddress, known_tables
from dispatcher.exports.iceberg.removal import Removal
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher

# In these columns the whole value is the identifier.
_WHOLE: Final = ("user_id", "username", "anonymous_id", "session")
_NOTED: Final = "unreferenced.json"


class IcebergTables:
    """See ``Place``. A table that cannot be reached is named, and the others are looked into.

    Args:
        exports: The directory of this host's exports, within the state directory.
    """

    name = "iceberg"

    def __init__(self, exports: Path) -> None:
        self._exports = exports

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """The rows of each day that name the person. Reads each table."""
        for directory, address in known_tables(self._exports):
            try:
                removal = Removal(address.open(), directory / _NOTED)
                yield from self._look(removal, address, person, watch)
            except DispatcherError as error:
                yield Found(place=self.name, where=address.table, left=str(error))

    def forget(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """Write the days anew that have some; then expire all other snapshots, and delete their files."""
        for directory, address in known_tables(self._exports):
            try:
                removal = Removal(address.open(), directory / _NOTED)
                yield from self._forget(removal, address, person, watch)
            except DispatcherError as error:
                yield Found(place=self.name, where=address.table, left=str(error))

    def _look(self, removal: Removal, address: TableAddress, person: Person, watch: Watcher) -> Iterator[Found]:
        watch(f"reading {address.table}", 0, 0)
        for day, found in removal.look(lambda rows: rows_naming(rows, person)).items():
            yield Found(place=self.name, where=f"{address.table} {day}", events=len(found.ids), of=found.rows)

    def _forget(self, removal: Removal, address: TableAddress, person: Person, watch: Watcher) -> Iterator[Found]:
        watch(f"reading {address.table}", 0, 0)
        days = removal.look(lambda rows: rows_naming(rows, person))
        for number, (day, found) in enumerate(days.items()):
            watch(f"rewriting {address.table}", number, len(days))
            if found.ids:
                removal.remove(day, found.ids)
            yield Found(place=self.name, where=f"{address.table} {day}", events=len(found.ids), of=found.rows)
        for left in removal.clear():
            yield Found(place=self.name, where=address.table, left=left)


def rows_naming(rows: pa.Table, person: Person) -> list[int]:
    """The places of the rows that name a person: found by their text, then read."""
    texts = [one.name for one in rows.schema if pa.types.is_string(one.type) or pa.types.is_large_string(one.type)]
    mask = None
    for name in person.identifiers:
        for column in texts:
            for form in _forms(name) if column not in _WHOLE or "@" in name else (name,):
                found = pc.fill_null(pc.match_substring(rows[column], form, ignore_case="@" in name), False)
                mask = found if mask is None else pc.or_(mask, found)
    places = pc.indices_nonzero(mask).to_pylist()
    candidates = rows.take(pa.array(places, pa.int64())).to_pylist()
    return [place for place, row in zip(places, candidates, strict=True) if person.is_named_in(_line_of(row))]


def _line_of(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what its columns of JSON hold, as its line had it."""
    return row | {name: json.loads(row[name]) for name in ("event", "context") if row[name]}


def _forms(name: str) -> set[str]:
    """How an identifier may be written in JSON, in JSON within JSON, and in addresses."""
    once = json.dumps(name)[1:-1]
    plain = json.dumps(name, ensure_ascii=False)[1:-1]
    return {name, once, plain, json.dumps(once)[1:-1], quote(name), quote(name, "")}
