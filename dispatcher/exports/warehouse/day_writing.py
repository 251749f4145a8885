"""DayWriting: days of Parquet files become files of lines, one for each day, beside what loads them. By day, at once.

A file's bytes are the same for the same rows, so that a repeat changes nothing.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from dispatcher.errors import DispatcherError
from dispatcher.exports.day_files import DayFile
from dispatcher.exports.target import held, place
from dispatcher.exports.warehouse.days import ParquetDay, rows_of
from dispatcher.exports.warehouse.manifest import LoadedDay, WarehouseManifest, read_manifest

#: The manifest's name in the directory.
MANIFEST: Final = "_MANIFEST.json"
# zlib's number for the form of gzip, without a name and a time: the same bytes for the same lines.
_GZIP_BITS: Final = 31
# Three times as fast as zlib's own 6, for a tenth more.
_GZIP_LEVEL: Final = 3
# Bytes that are packed at a time.
_BLOCK_BYTES: Final = 1 << 20

#: Told how many rows of how many are read.
Watcher = Callable[[int, int], None]


class RowLines(Protocol):
    """Makes lines of rows, and counts."""

    written: int
    dropped: Counter[str]
    shortened: Counter[str]

    def line(self, row: Sequence[Any]) -> bytes | None:
        """A row as a line with its line break; None where it is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFormat:
    """How rows become files.

    Args:
        name: For whom, as the manifest says.
        options: What else decides how rows look.
        columns: What is read of the Parquet files.
        start: Makes what makes the lines of a day.
        file_name: A day's file. It is compressed with gzip.
        companions: What loads the files, and what else stands beside them: a text for each name.
    """

    name: str
    options: dict[str, str | int | list[str]]
    columns: Sequence[str]
    start: Callable[[], RowLines]
    file_name: Callable[[str], str]
    companions: Callable[[Sequence[LoadedDay]], Mapping[str, str]]


class DayWriting:
    """One export. Call ``run`` once.

    Args:
        directory: Of the Parquet files.
        days: The days that the target is to have. Files of other days are removed from it.
        target: Where the files go. It is made where it is missing.
        form: How.
    """

    def __init__(self, directory: Path, days: Sequence[ParquetDay], target: Path, form: LineFormat) -> None:
        self._directory = directory
        self._days = days
        self._target = target
        self._form = form
        self._total = sum(day.rows for day in days)
        self._done = 0

    def run(self, watch: Watcher) -> WarehouseManifest:
        """Write the days that are new or have changed. Blocks for about a minute for a million rows.

        Returns:
            What the directory has, as it stands in its ``_MANIFEST.json``.

        Raises:
            DispatcherError: The disk is full, a Parquet file is damaged, or another export writes to the directory.
                Files that have their names are whole.
        """
        try:
            self._target.mkdir(parents=True, exist_ok=True)
            with held(self._target):
                return self._run(watch)
        except OSError as error:
            raise DispatcherError(
                f"the export has ended: {error}. Days that are written are kept; run it again to go on"
            ) from error

    def _run(self, watch: Watcher) -> WarehouseManifest:
        path = self._target / MANIFEST
        earlier = read_manifest(path, WarehouseManifest)
        manifest = WarehouseManifest(format=self._form.name, options=self._form.options)
        known: dict[str, LoadedDay] = {}
        if earlier is not None and (earlier.format, earlier.options) == (manifest.format, manifest.options):
            known = {day.day: day for day in earlier.days if self._is_whole(day)}
        for day in self._days:
            loaded = known.get(day.day)
            if loaded is None or loaded.source_digest != day.digest:
                loaded = self._write(day, watch)
                # So that a run that is killed has not to do it again.
                self._note(manifest, [*known.values(), *manifest.days, loaded], path)
            else:
                self._advance(day.rows, watch)
            manifest.set_day(loaded)
        for name, text in self._form.companions(manifest.days).items():
            self._put(self._target / name, text.encode())
        manifest.write(path)
        self._remove_others(earlier, manifest)
        return manifest

    def _is_whole(self, day: LoadedDay) -> bool:
        return all(_size(self._target / file.file) == file.bytes for file in day.files)

    def _note(self, manifest: WarehouseManifest, days: Sequence[LoadedDay], path: Path) -> None:
        noted = WarehouseManifest(format=manifest.format, options=manifest.options)
        for day in days:
            noted.set_day(day)
        noted.write(path)

    def _write(self, day: ParquetDay, watch: Watcher) -> LoadedDay:
        lines = self._form.start()
        unfinished = self._target / "_work" / "day.tmp"
        pack = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_BITS)
        digest = hashlib.sha256()
        block: list[bytes] = []
        length = 0
        with unfinished.open("wb") as file:

            def write(packed: bytes) -> None:
                digest.update(packed)
                file.write(packed)

            for row in rows_of(self._directory, day, self._form.columns):
                self._advance(1, watch)
                line = lines.line(row)
                if line is None:
                    continue
                block.append(line)
                length += len(line)
                if length >= _BLOCK_BYTES:
                    write(pack.compress(b"".join(block)))
                    block, length = [], 0
            write(pack.compress(b"".join(block)) + pack.flush())
            size = file.tell()
        name = self._form.file_name(day.day)
        place(unfinished, self._target / name)
        return LoadedDay(
            day=day.day,
            source=day.files,
            source_digest=day.digest,
            written=lines.written,
            dropped=dict(lines.dropped),
            shortened=dict(lines.shortened),
            files=[DayFile(file=name, rows=lines.written, bytes=size, sha256=digest.hexdigest())],
        )

    def _advance(self, rows: int, watch: Watcher) -> None:
        self._done += rows
        if self._done % 1024 < rows or self._done == self._total:
            watch(self._done, self._total)

    def _put(self, target: Path, content: bytes) -> None:
        unfinished = self._target / "_work" / "put.tmp"
        unfinished.write_bytes(content)
        place(unfinished, target)

    def _remove_others(self, earlier: WarehouseManifest | None, manifest: WarehouseManifest) -> None:
        """Remove files of days that are gone: a person may have been forgotten in them."""
        kept = {file.file for day in manifest.days for file in day.files}
        for day in earlier.days if earlier is not None else ():
            for file in day.files:
                if file.file not in kept:
                    (self._target / file.file).unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1
