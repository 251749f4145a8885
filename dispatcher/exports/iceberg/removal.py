"""Removal: rows go, or become others, for good: in a table's current files, its history, and on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
from pyarrow.fs import FileSelector, FileType
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.expressions import And, In
from pyiceberg.expressions.parser import parse
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table

from dispatcher.errors import DispatcherError
from dispatcher.exports.iceberg.table import EventTable, named_errors, within

# How long a file may be there before its commit names it: of ours, which take seconds, and of other programs.
_OWN_AGE: Final = timedelta(hours=1)
_ANY_AGE: Final = timedelta(days=1)
# Digits of the name of a file of ours.
_OWN_NAME: Final = 32
_MAX_TRIES: Final = 20

#: The places in a batch of the rows that are meant.
Meant = Callable[[pa.Table], list[int]]
#: What becomes of rows: others in their place, or fewer.
Becoming = Callable[[pa.Table], pa.Table]


class DayRows(msgspec.Struct):
    """The rows of one day.

    Args:
        rows: How many there are.
        ids: The ids of the events that are meant.
    """

    rows: int = 0
    ids: list[str] = msgspec.field(default_factory=list)


class Removal:
    """Takes rows out of a table. For one thread; done again, or after a kill, it goes on with what is left.

    Args:
        table: The table.
        noted: A file for what is to be deleted, which a run that goes on has to know.
    """

    def __init__(self, table: EventTable, noted: Path) -> None:
        self._table = table
        self._noted = noted

    def look(self, meant: Meant) -> dict[str, DayRows]:
        """Read the whole table, some rows at a time. Changes nothing.

        Returns:
            By day, as YYYY-MM-DD.

        Raises:
            DispatcherError: As of ``EventTable.load``.
        """
        found: dict[str, DayRows] = {}
        with named_errors(self._table):
            for batch in self._table.load().scan().to_arrow_batch_reader():
                rows = pa.Table.from_batches([batch])
                days = rows["timestamp"].cast(pa.timestamp("us")).cast(pa.date32()).to_pylist()
                ids = rows["event_id"].to_pylist()
                for day in days:
                    found.setdefault(str(day), DayRows()).rows += 1
                for place in meant(rows):
                    found[str(days[place])].ids.append(ids[place])
        return dict(sorted(found.items()))

    def change(self, day: str, ids: list[str], becoming: Becoming) -> None:
        """Write the day's files anew with what becomes of these events, in one commit.

        As they were they stay in the history: see ``clear``.

        Raises:
            DispatcherError: As above; or other writers commit all the time.
        """
        is_in: Any = In  # of whose own signature pydantic's plugin knows nothing
        meant = And(parse(within(day)), is_in("event_id", ids))
        for _ in range(_MAX_TRIES):
            try:
                with named_errors(self._table):
                    table = self._table.load()
                    rows = becoming(table.scan(row_filter=meant).to_arrow())
                    if len(rows):
                        table.overwrite(rows, overwrite_filter=meant)
                    else:
                        table.delete(meant)
                    return
            except CommitFailedException:
                continue
        raise DispatcherError(f"other writers commit to {self._table} all the time: run it again, when they rest")

    def clear(self) -> Iterator[str]:
        """Forget the table's history, and delete every file that only the history named, or nothing names.

        Yields:
            Why something stays, and what to do.

        Raises:
            DispatcherError: As above.
        """
        with named_errors(self._table):
            table = self._table.load()
            files = _files_of(table) | self._read()
            # Before the history goes: who goes on after a kill would not find them any more.
            self._noted.parent.mkdir(parents=True, exist_ok=True)
            self._noted.write_bytes(msgspec.json.encode(sorted(files)))
            kept = {ref.snapshot_id for ref in table.metadata.refs.values()}
            expired = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id not in kept]
            if expired:
                table.maintenance.expire_snapshots().by_ids(expired).commit()
            table = self._table.load()
            named = _files_of(table)
            for location in files - named:
                _delete(table, location)
            self._noted.unlink()
            yield from (
                f"{kind} {name} keeps older rows: delete it with your engine, and run this again"
                for name, ref in table.metadata.refs.items()
                for kind in (str(ref.snapshot_ref_type.value),)
                if name != "main"
            )
            yield from _delete_orphans(table, named)

    def _read(self) -> set[str]:
        try:
            return set(msgspec.json.decode(self._noted.read_bytes(), type=list[str]))
        except (FileNotFoundError, msgspec.DecodeError):
            return set()


def _files_of(table: Table) -> set[str]:
    """Everything that a snapshot of the table names, but for its metadata, in which there is nothing of rows."""
    if not table.snapshots():
        return set()
    found = set(table.inspect.all_files()["file_path"].to_pylist())
    found |= set(table.inspect.all_manifests()["path"].to_pylist())
    return found | {snapshot.manifest_list for snapshot in table.snapshots()}


def _delete(table: Table, location: str) -> None:
    try:
        table.io.delete(location)
    except FileNotFoundError:
        return


def _delete_orphans(table: Table, named: set[str]) -> Iterator[str]:
    """Delete what no snapshot names, as an export leaves it that was killed. What is young may still be committed."""
    if not isinstance(table.io, PyArrowFileIO):
        yield "the table's storage cannot be listed here: remove orphan files with your engine"
        return
    scheme, netloc, root = table.io.parse_location(table.location_provider().new_data_location("x"))
    file_system: Any = table.io.fs_by_scheme(scheme, netloc)
    selector = FileSelector(root.rpartition("/")[0], allow_not_found=True, recursive=True)
    paths = {table.io.parse_location(location)[2] for location in named}
    young = 0
    for info in file_system.get_file_info(selector):
        if info.type != FileType.File or info.path in paths:
            continue
        is_own = len(info.base_name.partition(".")[0]) == _OWN_NAME
        if datetime.now(UTC) - info.mtime < (_OWN_AGE if is_own else _ANY_AGE):
            young += 1
        else:
            file_system.delete_file(info.path)
    if young:
        yield f"{young} files that no snapshot names are younger than a day: run this again tomorrow"
