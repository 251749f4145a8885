"""TableauExtract: Parquet files become a .hyper file, by Tableau's own engine. It is whole, or the one from before.

The engine, hyperd, is a process of its own, which ends with this one, however that ends.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
from tableauhyperapi import (
    Connection,
    CreateMode,
    HyperException,
    HyperProcess,
    Telemetry,
    escape_name,
    escape_string_literal,
)

from dispatcher.errors import DispatcherError
from dispatcher.exports.day_files import DayFile
from dispatcher.exports.event_rows import SCHEMA
from dispatcher.exports.target import held_file, place
from dispatcher.exports.warehouse.days import ParquetDay
from dispatcher.exports.warehouse.manifest import LoadedDay, WarehouseManifest, read_manifest

# Schema and table, as Tableau looks for them.
_TABLE: Final = '"Extract"."Extract"'
# Without a limit hyperd took 3.1 GB for two million rows, and was not faster. Without a log_config, no hyperd.log.
_PARAMETERS: Final = {"memory_limit": "600m", "log_config": ""}

#: Told how many rows of how many are there.
Watcher = Callable[[int, int], None]


class TableauManifest(WarehouseManifest, kw_only=True):
    """What an extract has.

    Args:
        bytes: Size of the .hyper file.
        sha256: Of its bytes.
    """

    bytes: int = 0
    sha256: str = ""


class TableauExtract:
    """One export. Call ``run`` once.

    Args:
        directory: Of the Parquet files.
        days: The days that the extract is to have, and no others.
        target: The .hyper file. Its manifest is beside it, as NAME.hyper.json.
        columns: The columns that it has, in order; empty: all.

    Raises:
        DispatcherError: A column is unknown.
    """

    def __init__(self, directory: Path, days: Sequence[ParquetDay], target: Path, columns: Sequence[str] = ()) -> None:
        self._directory = directory
        self._days = days
        self._target = target
        self._unfinished = target.with_name(target.name + ".tmp")
        self._manifest = target.with_name(target.name + ".json")
        self._columns = list(columns or SCHEMA.names)
        if unknown := [name for name in self._columns if name not in SCHEMA.names]:
            raise DispatcherError(f"the column {unknown[0]} is unknown: there are {', '.join(SCHEMA.names)}")

    def run(self, watch: Watcher) -> TableauManifest:
        """Export. Blocks for some ten seconds for a million rows.

        Where the extract has Parquet files only that are there still, the others are added to a copy of it; else it is
        made anew, so that what is not in the files any more is not in it either.

        Returns:
            What the extract has, as it stands beside it.

        Raises:
            DispatcherError: The engine has failed, a file is damaged, the disk is full, or another export writes it.
                The extract from before is there still.
        """
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
            with held_file(self._target.with_name(f".{self._target.name}.lock"), self._target):
                return self._run(watch)
        except (OSError, HyperException) as error:
            said = error.main_message.partition("\n")[0] if isinstance(error, HyperException) else error
            raise DispatcherError(f"the export has ended: {said}. {self._target} is as it was") from error
        finally:
            self._unfinished.unlink(missing_ok=True)

    def _run(self, watch: Watcher) -> TableauManifest:
        earlier = self._read_earlier()
        manifest = TableauManifest(
            format="tableau",
            options={"columns": self._columns},
            days=[
                LoadedDay(day=day.day, source=day.files, source_digest=day.digest, written=day.rows)
                for day in self._days
            ],
        )
        there = _files(earlier) if earlier is not None else set()
        wanted = [file for day in self._days for file in day.files]
        is_kept = there <= {(file.file, file.sha256) for file in wanted}
        missing = [file for file in wanted if not is_kept or (file.file, file.sha256) not in there]
        if earlier is not None and is_kept and not missing:
            return earlier
        if is_kept and earlier is not None:
            shutil.copyfile(self._target, self._unfinished)
        else:
            self._unfinished.unlink(missing_ok=True)
        self._insert(missing, manifest.rows, watch, is_new=earlier is None or not is_kept)
        with self._unfinished.open("rb") as file:
            manifest.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            manifest.bytes = file.tell()
        # In this order: killed between the two, the next export finds a manifest of another file, and makes it anew.
        place(self._unfinished, self._target)
        manifest.write(self._manifest)
        return manifest

    def _read_earlier(self) -> TableauManifest | None:
        """The manifest of the extract that is there; None unless that is to the byte what an export has left."""
        earlier = read_manifest(self._manifest, TableauManifest)
        if earlier is None or not self._target.exists() or earlier.options != {"columns": self._columns}:
            return None
        with self._target.open("rb") as file:
            is_ours = hashlib.file_digest(file, "sha256").hexdigest() == earlier.sha256
        return earlier if is_ours else None

    def _insert(self, files: Sequence[DayFile], total: int, watch: Watcher, *, is_new: bool) -> None:
        done = total - sum(file.rows for file in files)
        watch(done, total)
        mode = CreateMode.CREATE if is_new else CreateMode.NONE
        with (
            HyperProcess(Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, "dispatcher", parameters=_PARAMETERS) as hyper,
            Connection(hyper.endpoint, self._unfinished, mode) as connection,
        ):
            if is_new:
                connection.execute_command('CREATE SCHEMA "Extract"')
                connection.execute_command(f"CREATE TABLE {_TABLE} ({', '.join(map(_definition, self._columns))})")
            chosen = ", ".join(map(_expression, self._columns))
            # File by file: all at once take twice the memory.
            for file in files:
                path = escape_string_literal(str((self._directory / file.file).resolve()))
                connection.execute_command(
                    f"INSERT INTO {_TABLE} SELECT {chosen} FROM external({path}, FORMAT => 'parquet')"
                )
                done += file.rows
                watch(done, total)
            rows = connection.execute_scalar_query(f"SELECT count(*) FROM {_TABLE}")
        if rows != total:
            raise DispatcherError(
                f"{self._directory} has changed during the export: {rows} rows are in the extract, {total} were in the "
                f"files. Run it again; {self._target} is as it was"
            )


def _files(manifest: WarehouseManifest) -> set[tuple[str, str]]:
    return {(file.file, file.sha256) for day in manifest.days for file in day.source}


def _definition(name: str) -> str:
    field = SCHEMA.field(name)
    kind = "TIMESTAMP" if pa.types.is_timestamp(field.type) else "BIGINT" if field.type == pa.int64() else "TEXT"
    return f"{escape_name(name)} {kind}{'' if field.nullable else ' NOT NULL'}"


def _expression(name: str) -> str:
    # Tableau shows times with a zone in that of whoever looks.
    quoted = str(escape_name(name))
    return f"{quoted} AT TIME ZONE 'UTC'" if pa.types.is_timestamp(SCHEMA.field(name).type) else quoted
