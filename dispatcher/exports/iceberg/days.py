"""IcebergDays: a day's new events become one commit. Of two writers the slower looks again at what is there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from pyiceberg.table import Table

from dispatcher.errors import DispatcherError
from dispatcher.exports.day_export import NewFile
from dispatcher.exports.day_files import DayCounts, DayFile, describe, drop_repeats, write_rows
from dispatcher.exports.iceberg.table import PARTITION, EventTable, named_errors, with_ids, within

# In a row: a writer that commits each second would have to be faster each time.
_MAX_TRIES: Final = 20
_BATCH: Final = "dispatcher.batch"
_NAME_CHARACTERS: Final = 32


class _Note(msgspec.Struct):
    """What is decided for a day before its commit.

    Args:
        batch: By which the commit is found among the table's snapshots.
        counts: Of the day.
    """

    batch: str
    counts: DayCounts


class IcebergDays:
    """The days of a table. See ``Days``. Readers see a day's new events all at once."""

    format = "iceberg"

    def __init__(self, table: EventTable) -> None:
        self._table = table

    def write(self, day: str, new: Sequence[NewFile], rows: int, notes: Path) -> DayCounts:
        """See ``Days``.

        Raises:
            DispatcherError: The table is missing or another one, or catalog or storage fail; or other writers commit
                all the time.
        """
        note = _read_note(notes)
        for _ in range(_MAX_TRIES):
            table = self._table.load()
            # Killed behind its commit, or the answer to it was lost.
            if note is not None and note.counts.came == rows and _has_batch(table, note.batch):
                return note.counts
            with named_errors(self._table):
                note = self._prepare(table, day, new, rows)
                notes.write_bytes(msgspec.json.encode(note))
                if not note.counts.files or _commit(table, note):
                    return note.counts
        raise DispatcherError(
            f"other writers commit to {self._table} all the time: run it again in the same way, when they rest"
        )

    def _prepare(self, table: Table, day: str, new: Sequence[NewFile], rows: int) -> _Note:
        """Put the files of what is new beside the table's, where no reader looks for them yet."""
        before = drop_repeats([_ids_of(table, day)], [one.path for one in new if one.path.exists()])
        files = [_upload(table, day, one.path) for one in new if one.path.exists()]
        duplicates = rows - sum(file.rows for file in files)
        return _Note(uuid.uuid4().hex, DayCounts(day=day, before=before, came=rows, duplicates=duplicates, files=files))


def _ids_of(table: Table, day: str) -> Any:
    found = table.scan(row_filter=within(day), selected_fields=("event_id",)).to_arrow()
    return found["event_id"].cast(pa.string())


def _upload(table: Table, day: str, path: Path) -> DayFile:
    """Write the file's rows as one of the table's. Its name is that of its content: the same file may be there."""
    known = describe(path, path.name)
    name = f"{PARTITION}={day}/{known.sha256[:_NAME_CHARACTERS]}.parquet"
    location = table.location_provider().new_data_location(name)
    rows = with_ids(pq.read_table(path), table)
    unfinished = path.with_suffix(".iceberg")
    write_rows(rows, unfinished, statistics=True)
    with table.io.new_output(location).create(overwrite=True) as file:
        file.write(unfinished.read_bytes())
    written = describe(unfinished, location)
    unfinished.unlink()
    return written


def _commit(table: Table, note: _Note) -> bool:
    """Whether it was this writer's turn. Otherwise nothing is changed."""
    try:
        with table.transaction() as transaction:
            update = transaction.update_snapshot(snapshot_properties={_BATCH: note.batch})
            with update.fast_append() as append:
                for file in note.counts.files:
                    metadata = transaction.table_metadata
                    append.append_data_file(parquet_file_to_data_file(table.io, metadata, file.file))
    except CommitFailedException:
        return False
    return True


def _has_batch(table: Table, batch: str) -> bool:
    return any(
        snapshot.summary is not None and snapshot.summary.additional_properties.get(_BATCH) == batch
        for snapshot in table.snapshots()
    )


def _read_note(notes: Path) -> _Note | None:
    try:
        return msgspec.json.decode(notes.read_bytes(), type=_Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
