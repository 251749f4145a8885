"""ParquetExport: logs become Parquet files, a folder for each day, in a directory or a bucket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dispatcher.exports.day_export import DayExport, NewFile
from dispatcher.exports.day_files import DayCounts, day_directory, describe, drop_repeats, ids_of
from dispatcher.exports.part_reading import Chosen
from dispatcher.exports.target import DirectoryTarget, Target

if TYPE_CHECKING:
    from dispatcher.exports.bucket.log_object import LogObject


class ParquetExport(DayExport):
    """One export. Call ``run`` once.

    Args:
        logs: The tracking logs, each once.
        target: Where the files go. A path is a directory, which is made where it is missing.
        chosen: Which events are wanted.
        options: As of ``DayExport``.
    """

    def __init__(self, logs: Sequence[Path | LogObject], target: Target | Path, chosen: Chosen, **options: Any) -> None:
        found = DirectoryTarget(target) if isinstance(target, Path) else target
        super().__init__(logs, found, ParquetDays(found), chosen, **options)


class _Note(msgspec.Struct):
    """What is decided for a day before its first file gets its name.

    Args:
        counts: Of the day.
        names: The final name of each file, by its path in the target's ``work``.
    """

    counts: DayCounts
    names: dict[str, str]


class ParquetDays:
    """A folder of Parquet files for each day. See ``Days``. A file appears at once."""

    format = "parquet"

    def __init__(self, target: Target) -> None:
        self._target = target

    def write(self, day: str, new: Sequence[NewFile], rows: int, notes: Path) -> DayCounts:
        """See ``Days``."""
        note = _read_note(notes)
        # Fewer rows: a log that could not be read to its end was read further by now.
        if note is None or note.counts.came != rows:
            note = self._decide(day, new, rows)
            unfinished = notes.with_suffix(".tmp")
            unfinished.write_bytes(msgspec.json.encode(note))
            unfinished.rename(notes)
        for file in new:
            # An earlier run may have been killed here: it has moved some of them.
            if file.path.exists():
                self._target.place(file.path, note.names[str(file.path)])
        return note.counts

    def _decide(self, day: str, new: Sequence[NewFile], rows: int) -> _Note:
        folder = day_directory(day)
        existing = {name for name in self._target.names(folder) if name.endswith(".parquet")}
        before = drop_repeats([self._ids(f"{folder}/{name}") for name in sorted(existing)], [one.path for one in new])
        left = [one for one in new if one.path.exists()]
        names = {str(one.path): f"{folder}/{_free_name(one.name, existing)}" for one in left}
        files = [describe(one.path, names[str(one.path)]) for one in left]
        # Not what was dropped just now: an earlier run may have been killed behind some of that.
        duplicates = rows - sum(file.rows for file in files)
        return _Note(DayCounts(day=day, before=before, came=rows, duplicates=duplicates, files=files), names)

    def _ids(self, name: str) -> Any:
        with self._target.open(name) as file:
            return ids_of(file)


def _free_name(name: str, existing: set[str]) -> str:
    """The name, or one beside it: what is there has other events, as where some of its rows were deleted."""
    stem, count = name.removesuffix(".parquet"), 1
    while name in existing:
        count += 1
        name = f"{stem}-{count}.parquet"
    return name


def _read_note(notes: Path) -> _Note | None:
    try:
        return msgspec.json.decode(notes.read_bytes(), type=_Note)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
