"""DayFiles: a day's Parquet files, among which each event is once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_ID: Final = "event_id"


# Columns of few different values. The others would only be tried, at the cost of a hash for each value.
_OF_FEW_VALUES: Final = [
    *("user_id", "username", "session", "event_type", "name", "emitter_type", "course_id", "org_id", "label"),
    *("category", "page", "referrer", "host", "ip", "agent", "accept_language", "source_file"),
]


class DayFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a day.

    Args:
        file: Its path within the export's directory.
        rows: How many events it has.
        bytes: Its size.
        sha256: Of its bytes.
    """

    file: str
    rows: int
    bytes: int
    sha256: str


class DayCounts(msgspec.Struct, kw_only=True):
    """What became of the rows that were read for one day.

    Args:
        day: As YYYY-MM-DD.
        before: The events that the day had.
        came: The rows that were read for it.
        duplicates: Of these, how many are events that were there already, or came twice.
        files: What was added.
    """

    day: str
    before: int
    came: int
    duplicates: int
    files: list[DayFile]

    @property
    def added(self) -> int:
        """The events that were not there before."""
        return self.came - self.duplicates


def day_directory(day: str) -> str:
    """Where a day's files are within an export's directory: Hive's way, which every reader knows."""
    return f"date={day}"


def drop_repeats(existing: Sequence[Path], came: Sequence[Path]) -> int:
    """Rewrite new files of a day without the events that the day has already, or that stand further in front.

    Done again, it changes nothing. Takes some hundred bytes of memory for each event of the day.

    Args:
        existing: The day's files. They stay as they are.
        came: New ones. A file of which nothing is left is removed.

    Returns:
        How many events there were.

    Raises:
        OSError: A file cannot be read or written.
    """
    columns = [pq.read_table(path, columns=[_ID])[_ID] for path in (*existing, *came)]
    before = sum(len(column) for column in columns[: len(existing)])
    ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string())
    if pc.count_distinct(ids).as_py() == len(ids):
        return before
    places = pa.table({_ID: ids, "place": pa.array(range(len(ids)), pa.int64())})
    kept = places.group_by(_ID).aggregate([("place", "min")])["place_min"]
    start = before
    for path, column in zip(came, columns[len(existing) :], strict=True):
        inside = kept.filter(pc.and_(pc.greater_equal(kept, start), pc.less(kept, start + len(column))))
        if len(inside) < len(column):
            _keep_rows(path, pc.subtract(inside.sort(), start))
        start += len(column)
    return before


def _keep_rows(path: Path, rows: Any) -> None:
    if not len(rows):
        path.unlink()
        return
    unfinished = path.with_suffix(".tmp")
    table = pq.read_table(path)
    write_rows(table.take(rows), unfinished)
    unfinished.rename(path)


def write_rows(table: Any, path: Path) -> None:
    """Write rows as a Parquet file: the same bytes for the same rows."""
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=3,
        use_dictionary=_OF_FEW_VALUES,
        write_statistics=["course_id", "timestamp", "user_id"],
    )


def describe(path: Path, name: str) -> DayFile:
    """What the manifest says of a file. Reads it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return DayFile(file=name, rows=pq.read_metadata(path).num_rows, bytes=path.stat().st_size, sha256=digest)
