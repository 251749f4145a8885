"""WarehouseManifest: which Parquet files are in a table of others, and what became of each row. Its sum closes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.exports.day_files import DayFile
from dispatcher.exports.target import place
from dispatcher.version import __version__


class LoadedDay(msgspec.Struct, kw_only=True):
    """What became of a day's rows.

    Args:
        day: As YYYY-MM-DD, in UTC.
        source: The Parquet files that were read.
        source_digest: Of all of them: another one tells that the day has changed since.
        written: Rows that are in the table, or in the files for it.
        dropped: Rows that are not, by reason.
        shortened: Values that had to be cut to the length of their column, by column.
        files: What was written for the day, where that is files.
    """

    day: str
    source: Sequence[DayFile] = ()
    source_digest: str = ""
    written: int = 0
    dropped: dict[str, int] = msgspec.field(default_factory=dict)
    shortened: dict[str, int] = msgspec.field(default_factory=dict)
    files: Sequence[DayFile] = ()

    @property
    def rows(self) -> int:
        """Rows of its Parquet files."""
        return sum(file.rows for file in self.source)


_Manifest = TypeVar("_Manifest", bound="WarehouseManifest")


class WarehouseManifest(msgspec.Struct, kw_only=True):
    """What a table has, day by day, after the last export to it.

    Args:
        format: For whom it is.
        options: What else decides how rows look: with others, every day is written anew.
        version: The release that wrote it.
        days: The days, in order.
    """

    format: str
    options: dict[str, str | int | list[str]] = msgspec.field(default_factory=dict)
    version: str = __version__
    days: list[LoadedDay] = msgspec.field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the Parquet files."""
        return sum(day.rows for day in self.days)

    @property
    def written(self) -> int:
        """Rows that are in the table."""
        return sum(day.written for day in self.days)

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that are not, by reason."""
        return _sum(day.dropped for day in self.days)

    @property
    def shortened(self) -> dict[str, int]:
        """Values that were cut to the length of their column, by column."""
        return _sum(day.shortened for day in self.days)

    @property
    def difference(self) -> int:
        """Rows read less what became of them: 0, or a mistake of this package's."""
        return self.rows - self.written - sum(self.dropped.values())

    def set_day(self, day: LoadedDay) -> None:
        """Put a day in the place of what was there of it."""
        days = {one.day: one for one in self.days} | {day.day: day}
        self.days = [days[name] for name in sorted(days)]

    def to_json(self) -> str:
        """As it is kept, with its sums, for people and programs."""
        sums = {
            "rows": self.rows,
            "written": self.written,
            "dropped": self.dropped,
            "shortened": self.shortened,
            "difference": self.difference,
        }
        return msgspec.json.format(msgspec.json.encode({"sums": sums} | msgspec.to_builtins(self)), indent=2).decode()

    def write(self, path: Path) -> None:
        """Write it beside the place, and put it there at once. Raises OSError."""
        unfinished = path.with_name(path.name + ".tmp")
        unfinished.write_text(self.to_json() + "\n")
        place(unfinished, path)


def read_manifest(path: Path, kind: type[_Manifest]) -> _Manifest | None:
    """The manifest of an earlier export; None where there was none.

    Raises:
        DispatcherError: The file is something else.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DispatcherError(
            f"{path} is not the manifest of an export: {error}. Remove it to have every day written anew"
        ) from error


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))
