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
# Ids that are compared with one another at a time; more are parted by their last character, of which ids have sixteen.
_IDS_AT_A_TIME: Final = 500_000
_END: Final = (1 << 63) - 1


# Columns of few different values. The others would only be tried, at the cost of a hash for each value.
_OF_FEW_VALUES: Final = [
    *("user_id", "username", "session", "event_type", "name", "emitter_type", "course_id", "org_id", "label"),
    *("category", "page", "referrer", "host", "ip", "agent", "accept_language", "source_file"),
]
# By which readers leave out groups of rows.
_IN_STATISTICS: Final = ["course_id", "timestamp", "user_id"]


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


def ids_of(file: Any) -> Any:
    """The ids of the events of a Parquet file: a path, or one that is open."""
    return pq.read_table(file, columns=[_ID], use_threads=False)[_ID]


def drop_repeats(existing: Sequence[Any], came: Sequence[Path]) -> int:
    """Rewrite new files of a day without the events that the day has already, or that stand further in front.

    Done again, it changes nothing. Takes some sixty bytes of memory for each event of the day, and 200 MB.

    Args:
        existing: The ids of the events that the day has, as ``ids_of`` gives them.
        came: New files. One of which nothing is left is removed.

    Returns:
        How many events there were.

    Raises:
        OSError: A file cannot be read or written.
    """
    columns = [*existing, *map(ids_of, came)]
    before = sum(map(len, existing))
    repeats = _repeats(pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()))
    start = before
    for path, column in zip(came, columns[len(existing) :], strict=True):
        end = start + len(column)
        inside = repeats.filter(pc.and_(pc.greater_equal(repeats, start), pc.less(repeats, end)))
        if len(inside):
            _drop_rows(path, pc.subtract(inside, start))
        start = end
    return before


def _repeats(ids: pa.ChunkedArray) -> pa.Array:
    """The places of ids that stand further in front too.

    A part of the ids at a time, since the table of all would be several times as large as they are.
    """
    if len(ids) <= _IDS_AT_A_TIME:
        return _repeats_among(ids, pa.array(range(len(ids)), pa.int64()))
    endings = pc.utf8_slice_codeunits(ids, start=-1, stop=_END)
    found = []
    for ending in pc.unique(endings):
        are_meant = pc.equal(endings, ending)
        found.append(_repeats_among(ids.filter(are_meant), pc.indices_nonzero(are_meant).cast(pa.int64())))
    return pa.concat_arrays(found)


def _repeats_among(ids: pa.ChunkedArray, places: pa.Array) -> pa.Array:
    if pc.count_distinct(ids).as_py() == len(ids):
        return places.slice(0, 0)
    first = pa.table({_ID: ids, "place": places}).group_by(_ID).aggregate([("place", "min")])["place_min"]
    return places.filter(pc.invert(pc.is_in(places, first)))


def _drop_rows(path: Path, places: pa.Array) -> None:
    table = pq.read_table(path)
    kept = table.filter(pc.invert(pc.is_in(pa.array(range(len(table)), pa.int64()), places)))
    if not len(kept):
        path.unlink()
        return
    unfinished = path.with_suffix(".tmp")
    write_rows(kept, unfinished)
    unfinished.rename(path)


def write_rows(table: Any, path: Path, *, statistics: bool | list[str] = _IN_STATISTICS) -> None:
    """Write rows as a Parquet file: the same bytes for the same rows.

    Args:
        table: The rows.
        path: The file.
        statistics: The columns whose least and greatest values are kept; True for all.
    """
    pq.write_table(
        table,
        path,
        compression="zstd",
        # Two thirds of the time of level 3, and within a twentieth of its size; 9 saves a fifth for several times it.
        compression_level=1,
        use_dictionary=_OF_FEW_VALUES,
        write_statistics=statistics,
    )


def describe(path: Path, name: str) -> DayFile:
    """What the manifest says of a file. Reads it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return DayFile(file=name, rows=pq.read_metadata(path).num_rows, bytes=path.stat().st_size, sha256=digest)
