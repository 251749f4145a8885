"""VerticaTables: the statements for ``event_records`` and the table beside it through which a day is replaced.

The forms are those of Vertica's manual, 9.x to 24.x, for CREATE TABLE, COPY and SWAP_PARTITIONS_BETWEEN_TABLES.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dispatcher.errors import DispatcherError
from dispatcher.exports.warehouse.event_record import COLUMNS, Column

_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,127}")
_CREATED: Final = "created TIMESTAMP DEFAULT NOW()"


@dataclass(frozen=True, slots=True)
class VerticaTables:
    """The table of events and its staging table.

    Args:
        schema: Their schema.
        table: The table's name; the other's has ``_staging`` behind it.

    Raises:
        DispatcherError: A name is not a plain identifier.
    """

    schema: str = "public"
    table: str = "event_records"

    def __post_init__(self) -> None:
        for name in (self.schema, self.table):
            if not _IDENTIFIER.fullmatch(name):
                raise DispatcherError(
                    f"{name!r} cannot be the name of a schema or table: take letters, digits and _, a letter first"
                )

    @property
    def target(self) -> str:
        """The table, with its schema."""
        return f"{self.schema}.{self.table}"

    @property
    def staging(self) -> str:
        """The table that a day is loaded into first."""
        return f"{self.target}_staging"

    def ddl(self, columns: Sequence[Column]) -> str:
        """What makes both tables where they are missing, for the database's owner to run once."""
        wanted = ",\n".join(f"    {line}" for line in [*(column.definition for column in columns), _CREATED])
        return (
            f"CREATE SCHEMA IF NOT EXISTS {self.schema};\n\n"
            f"CREATE TABLE IF NOT EXISTS {self.target} (\n{wanted}\n)\nPARTITION BY date;\n\n"
            "-- Days are loaded into this one first, and take their place in the other at once.\n"
            f"CREATE TABLE IF NOT EXISTS {self.staging} LIKE {self.target} INCLUDING PROJECTIONS;\n"
        )

    @property
    def empty_staging(self) -> str:
        """Takes away what an earlier run has left. It commits, so it stands before the day's transaction."""
        return f"TRUNCATE TABLE {self.staging}"

    def copy(self, source: str) -> str:
        """Loads one day.

        Args:
            source: ``STDIN``, or ``LOCAL 'file' GZIP``.
        """
        names = ", ".join(column.name for column in COLUMNS)
        # NO COMMIT: else COPY commits by itself. ENFORCELENGTH: else it cuts without a word. No escaping of quotes.
        return (
            f"COPY {self.staging} ({names}) FROM {source} DELIMITER E'\\t' NULL '\\N' ENCLOSED BY '' "
            "ENFORCELENGTH ABORT ON ERROR NO COMMIT"
        )

    @property
    def count_staging(self) -> str:
        """How many rows are there, in the transaction that has loaded them."""
        return f"SELECT COUNT(*) FROM {self.staging}"

    def swap(self, day: str) -> str:
        """Puts the day that is in staging in the place of the table's, in a transaction of its own."""
        return f"SELECT SWAP_PARTITIONS_BETWEEN_TABLES('{self.staging}', '{day}', '{day}', '{self.target}', true)"

    def drop(self, day: str) -> str:
        """Takes a day out of the table."""
        return f"SELECT DROP_PARTITIONS('{self.target}', '{day}', '{day}', true)"


#: The session's time zone, in which COPY reads times.
SET_TIMEZONE: Final = "SET TIME ZONE TO 'GMT'"
