"""VerticaLoad: days of Parquet files into a Vertica database, each at once, through vertica-python.

A day's COPY goes into the staging table and is committed only if every row is there; then its partition takes the place
of the table's. Ended at any moment, the table has the day as it was or as it is now, and the next run does it again.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import vertica_python

from dispatcher.errors import DispatcherError
from dispatcher.exports.target import held_file
from dispatcher.exports.warehouse.days import ParquetDay, rows_of
from dispatcher.exports.warehouse.event_record import SOURCE_COLUMNS, EventRecords, RulesName
from dispatcher.exports.warehouse.manifest import LoadedDay, WarehouseManifest, read_manifest
from dispatcher.exports.warehouse.vertica_sql import SET_TIMEZONE, VerticaTables

# Bytes that are put together before they are sent.
_BLOCK_BYTES: Final = 1 << 20

#: Told how many rows of how many are read.
Watcher = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticaServer:
    """Where the database is.

    Args:
        host: Its host.
        port: Its port.
        database: Its name.
        user: Who loads.
        password: Its password; empty where the server trusts the user.
        tls: As ``tlsmode`` of vertica-python.
    """

    host: str
    port: int
    database: str
    user: str
    password: str
    tls: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerticaPlan:
    """What is wanted.

    Args:
        tables: The table of events and its staging table.
        rules: Which events are left out.
        raw_event_octets: The length of raw_event.
        prune: Empty the days, too, that an earlier run has loaded and whose files are gone.
    """

    tables: VerticaTables
    rules: RulesName
    raw_event_octets: int
    prune: bool = False

    @property
    def options(self) -> dict[str, str | int | list[str]]:
        """What decides how rows look."""
        return {"table": self.tables.target, "rules": self.rules, "raw_event_octets": self.raw_event_octets}


class VerticaLoad:
    """One load. Call ``run`` once.

    Args:
        directory: Of the Parquet files.
        days: The days that are to be in the table. Other days of the table stay as they are.
        server: Where.
        plan: What.
        manifest: The file that remembers which days are loaded. One for each table.
    """

    def __init__(
        self, directory: Path, days: Sequence[ParquetDay], server: VerticaServer, plan: VerticaPlan, manifest: Path
    ) -> None:
        self._directory = directory
        self._days = days
        self._server = server
        self._plan = plan
        self._path = manifest
        self._total = sum(day.rows for day in days)
        self._done = 0

    def run(self, watch: Watcher) -> WarehouseManifest:
        """Load the days that are new or have changed. Blocks for about a minute for a million rows.

        Returns:
            What the table has of all days, as it is remembered.

        Raises:
            DispatcherError: The server cannot be reached, refuses a statement or a row, or went away; or the files
                have changed meanwhile. Days that are loaded stay loaded.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with held_file(self._path.with_name(f".{self._path.name}.lock"), self._path):
                return self._run(watch)
        except OSError as error:
            raise DispatcherError(
                f"the load has ended: {error}. Days that are loaded stay loaded; run it again"
            ) from error

    def _run(self, watch: Watcher) -> WarehouseManifest:
        manifest = read_manifest(self._path, WarehouseManifest)
        if manifest is None or manifest.options != self._plan.options:
            manifest = WarehouseManifest(format="vertica", options=self._plan.options)
        loaded = {day.day: day for day in manifest.days}
        changed = [day for day in self._days if day.day not in loaded or loaded[day.day].source_digest != day.digest]
        there = {path.name.partition("=")[2] for path in self._directory.glob("date=*") if any(path.glob("*.parquet"))}
        gone = sorted(set(loaded) - there) if self._plan.prune else []
        self._done = self._total - sum(day.rows for day in changed)
        watch(self._done, self._total)
        if changed or gone:
            with self._connected() as connection:
                cursor = connection.cursor()
                self._execute(cursor, SET_TIMEZONE)
                for day in changed:
                    manifest.set_day(self._load(connection, cursor, day, watch))
                    manifest.write(self._path)
                for name in gone:
                    self._execute(cursor, self._plan.tables.drop(name))
                    manifest.days = [day for day in manifest.days if day.day != name]
                    manifest.write(self._path)
        return manifest

    def _load(self, connection: Any, cursor: Any, day: ParquetDay, watch: Watcher) -> LoadedDay:
        tables = self._plan.tables
        records = EventRecords(self._plan.rules, self._plan.raw_event_octets)
        self._execute(cursor, tables.empty_staging)
        source = _LineStream(self._lines(day, records, watch))
        try:
            cursor.copy(tables.copy("STDIN"), source, buffer_size=_BLOCK_BYTES)
        except vertica_python.Error as error:
            if source.failure is not None:
                raise source.failure from error
            raise self._refused(day.day, error) from error
        self._execute(cursor, tables.count_staging)
        [rows] = cursor.fetchone()
        if rows != records.written:
            raise DispatcherError(
                f"Vertica has {rows} of the {records.written} rows of {day.day} that were sent: they are not "
                "committed. Run it again"
            )
        try:
            connection.commit()
        except vertica_python.Error as error:
            raise self._refused(day.day, error) from error
        self._execute(cursor, tables.swap(day.day))
        # What is in staging now is the day as it was.
        self._execute(cursor, tables.empty_staging)
        return LoadedDay(
            day=day.day,
            source=day.files,
            source_digest=day.digest,
            written=records.written,
            dropped=dict(records.dropped),
            shortened=dict(records.shortened),
        )

    def _lines(self, day: ParquetDay, records: EventRecords, watch: Watcher) -> Iterator[bytes]:
        for row in rows_of(self._directory, day, SOURCE_COLUMNS):
            line = records.line(row)
            self._done += 1
            if self._done & 1023 == 0:
                watch(self._done, self._total)
            if line is not None:
                yield line
        watch(self._done, self._total)

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        server = self._server
        try:
            connection = vertica_python.connect(
                host=server.host,
                port=server.port,
                user=server.user,
                password=server.password,
                database=server.database,
                tlsmode=server.tls,
                autocommit=False,
                session_label="dispatcher export vertica",
            )
        except vertica_python.Error as error:
            raise DispatcherError(
                f"Vertica at {server.host}:{server.port} does not let {server.user} in: {_first_line(error)}"
            ) from error
        try:
            yield connection
        finally:
            # Without a COMMIT before, this takes back what was sent. The server may have gone already.
            with suppress(vertica_python.Error, OSError):
                connection.close()

    def _execute(self, cursor: Any, statement: str) -> None:
        try:
            cursor.execute(statement)
        except vertica_python.errors.MissingRelation as error:
            raise DispatcherError(
                f"{self._plan.tables.target} or its staging table is missing: make them by what dispatcher export "
                "vertica --ddl prints"
            ) from error
        except vertica_python.Error as error:
            raise self._refused(statement.partition("(")[0], error) from error

    def _refused(self, what: str, error: Exception) -> DispatcherError:
        return DispatcherError(
            f"Vertica refused {what}: {_first_line(error)}. Days that are loaded stay loaded; run it again to go on"
        )


class _LineStream(io.RawIOBase):
    """What COPY reads: lines, in blocks. Remembers why it failed, of which the client passes on the words only."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        block, length = [], 0
        try:
            for line in self._lines:
                block.append(line)
                length += len(line)
                if length >= _BLOCK_BYTES:
                    break
        except Exception as error:
            self.failure = error
            raise
        return b"".join(block)


def _first_line(error: Exception) -> str:
    """What the server says, without the statement, and without the row that it may quote."""
    said = getattr(error, "message", None)
    return str(said or error).partition("\n")[0].partition(", SQL:")[0]
