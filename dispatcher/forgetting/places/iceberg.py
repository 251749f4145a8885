"""IcebergTables: the tables that this host has exported to, out of which a person is taken with their history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dispatcher.errors import DispatcherError
from dispatcher.exports.iceberg.address import TableAddress, known_tables
from dispatcher.exports.iceberg.removal import Removal
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.parquet_file import change_rows, rows_naming
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher

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

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Write anew what the days have of them; then expire all other snapshots, and delete their files."""
        for directory, address in known_tables(self._exports):
            try:
                removal = Removal(address.open(), directory / _NOTED)
                yield from self._forget(removal, address, person, change, watch)
            except DispatcherError as error:
                yield Found(place=self.name, where=address.table, left=str(error))

    def _look(self, removal: Removal, address: TableAddress, person: Person, watch: Watcher) -> Iterator[Found]:
        watch(f"reading {address.table}", 0, 0)
        for day, found in removal.look(lambda rows: rows_naming(rows, person)).items():
            yield Found(place=self.name, where=f"{address.table} {day}", events=len(found.ids), of=found.rows)

    def _forget(
        self, removal: Removal, address: TableAddress, person: Person, change: Change, watch: Watcher
    ) -> Iterator[Found]:
        watch(f"reading {address.table}", 0, 0)
        days = removal.look(lambda rows: rows_naming(rows, person))
        for number, (day, found) in enumerate(days.items()):
            watch(f"rewriting {address.table}", number, len(days))
            if found.ids:
                removal.change(day, found.ids, lambda rows: change_rows(rows, rows_naming(rows, person), change))
            yield Found(place=self.name, where=f"{address.table} {day}", events=len(found.ids), of=found.rows)
        for left in removal.clear():
            yield Found(place=self.name, where=address.table, left=left)
