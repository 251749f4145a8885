"""TableAddress: where a table is, as the command line said it, kept so that a person is found there later."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from dispatcher.exports.iceberg.table import EventTable, open_catalog

_FILE: Final = "iceberg.json"


class TableAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a table is.

    Args:
        table: With its namespace.
        catalog: The catalog's name in pyiceberg's settings; None for the default.
        properties: What else was said of the catalog. There may be secrets among it.
    """

    table: str
    catalog: str | None
    properties: dict[str, str | None]

    def open(self) -> EventTable:
        """The table. Raises DispatcherError where nothing is known of its catalog."""
        return EventTable(open_catalog(self.catalog, self.properties), self.table)

    def keep(self, directory: Path) -> None:
        """Note it in the directory of what is under way for that table, for its owner's eyes only."""
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = directory / f"{_FILE}.tmp"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self))
        unfinished.rename(directory / _FILE)


def known_tables(exports: Path) -> Iterator[tuple[Path, TableAddress]]:
    """The tables that were exported to from this machine, each with the directory of what is under way for it.

    Args:
        exports: Where those directories are.
    """
    for path in sorted(exports.glob(f"*/{_FILE}")):
        yield path.parent, msgspec.json.decode(path.read_bytes(), type=TableAddress)
