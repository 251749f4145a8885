"""ParquetDay: a day of an exported directory, with what tells whether it has changed since."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from dispatcher.errors import DispatcherError
from dispatcher.exports.day_files import DayFile, describe

_DIRECTORY: Final = re.compile(r"date=(\d{4}-\d{2}-\d{2})")
# Rows that are in memory at a time, with some kilobytes each.
_BATCH_ROWS: Final = 8_192


class ParquetDay(msgspec.Struct, frozen=True, kw_only=True):
    """A day as it was when it was looked at.

    Args:
        day: As YYYY-MM-DD, in UTC.
        files: Its files, by name.
    """

    day: str
    files: Sequence[DayFile]

    @property
    def rows(self) -> int:
        """How many events it has."""
        return sum(file.rows for file in self.files)

    @property
    def digest(self) -> str:
        """The same for the same files, to the byte."""
        return hashlib.sha256(msgspec.json.encode([(file.file, file.sha256) for file in self.files])).hexdigest()


def find_days(directory: Path, since: str = "", until: str = "") -> list[ParquetDay]:
    """The days of a directory that ``dispatcher export parquet`` has written. Reads all their files, for their digests.

    Args:
        directory: It has a directory date=YYYY-MM-DD for each day.
        since: The first day that counts, as YYYY-MM-DD; empty: the first that is there.
        until: The day behind the last one; empty: all.

    Raises:
        DispatcherError: It has none of these directories, or a file in them is not Parquet.
        OSError: A file cannot be read.
    """
    names = sorted(path.name for path in directory.iterdir() if _DIRECTORY.fullmatch(path.name))
    if not names:
        raise DispatcherError(
            f"{directory} has no directories date=YYYY-MM-DD: make them by dispatcher export parquet, and name its "
            "--to here by --from"
        )
    days = []
    for name in names:
        day = name.partition("=")[2]
        if day < since or (until and day >= until):
            continue
        files = [_describe(path, f"{name}/{path.name}") for path in sorted((directory / name).glob("*.parquet"))]
        if files:
            days.append(ParquetDay(day=day, files=files))
    return days


def rows_of(directory: Path, day: ParquetDay, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """A day's rows, file by file, each as the values of the columns. In bounded memory.

    Raises:
        DispatcherError: A file is damaged, or has other columns.
        OSError: A file cannot be read.
    """
    for file in day.files:
        try:
            with pq.ParquetFile(directory / file.file) as parquet:
                for batch in parquet.iter_batches(_BATCH_ROWS, columns=list(columns)):
                    # By name: a file's order is that of its release.
                    yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
        except (pa.ArrowException, KeyError) as error:
            raise _not_ours(directory / file.file, error) from error


def _describe(path: Path, name: str) -> DayFile:
    try:
        return describe(path, name)
    except pa.ArrowException as error:
        raise _not_ours(path, error) from error


def _not_ours(path: Path, error: Exception) -> DispatcherError:
    return DispatcherError(
        f"{path} is not a file of dispatcher export parquet: {error}. Remove its day's directory, and make it again by "
        "dispatcher export parquet --again"
    )
