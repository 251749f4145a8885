"""Exports: directories with what `dispatcher export` has written, or with copies of logs; each file as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from dispatcher.errors import DispatcherError
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.closed_files import why_closed
from dispatcher.forgetting.line_files import count_each, rewrite_one
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.installation.extras import install_command

_PARQUET_MAGIC: Final = b"PAR1"


class Exports:
    """One directory, with everything in it.

    Args:
        directory: Of exports, or of logs.
    """

    name = "exports"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many rows and lines of each file name the person."""
        lines, tables, closed = self._files()
        yield from closed
        yield from count_each(self.name, lines, person, watch)
        for path in tables:
            watch(self.name, 0, 0)
            yield self._table(path, person, None)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Rewrite the files that have some."""
        try:
            with self._held():
                yield from self._forget(person, change, watch)
        except DispatcherError as error:
            yield Found(place=self.name, where=str(self._directory), left=str(error))

    def _forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        lines, tables, closed = self._files()
        yield from closed
        for found in list(count_each(self.name, lines, person, watch)):
            path = Path(found.where)
            yield rewrite_one(self.name, path, person, change.line, watch) if found.events else found
        for path in tables:
            watch(self.name, 0, 0)
            yield self._table(path, person, change)

    def _held(self) -> AbstractContextManager[Any]:
        """An export must not write a day while it is rewritten."""
        if not (self._directory / "_manifests").is_dir():
            return nullcontext()
        from dispatcher.exports.target import held  # noqa: PLC0415 - the extra

        return held(self._directory)

    def _files(self) -> tuple[list[Path], list[Path], list[Found]]:
        lines, tables, closed = [], [], []
        for path in sorted(self._directory.rglob("*")):
            if not path.is_file() or path.name.startswith(".") or path.name == "lock":
                continue
            if (why := why_closed(path.name)) is not None:
                closed.append(Found(place=self.name, where=str(path), left=why))
            elif _is_parquet(path):
                tables.append(path)
            else:
                lines.append(path)
        return lines, tables, closed

    def _table(self, path: Path, person: Person, change: Change | None) -> Found:
        if find_spec("pyarrow") is None:
            return Found(place=self.name, where=str(path), left=f"it is Parquet: {install_command('export')}")
        from dispatcher.forgetting.parquet_file import go_through  # noqa: PLC0415 - the extra

        try:
            named, rows = go_through(path, person, change)
        except OSError as error:
            return Found(place=self.name, where=str(path), left=f"{error}")
        return Found(place=self.name, where=str(path), events=named, of=rows)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
