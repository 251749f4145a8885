"""BucketExports: the folders of buckets that this host has exported to, out of whose objects a person is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.exports.bucket.bucket import ObjectChangedError
from dispatcher.exports.bucket.target import BucketTarget, known_targets
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.line_files import count_each, rewrite_one
from dispatcher.forgetting.parquet_file import go_through
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher


class BucketExports:
    """See ``Place``. Each object with rows or broken lines is read here; one that names the person is replaced.

    Args:
        exports: The directory of this host's exports, within the state directory.
    """

    name = "exports"

    def __init__(self, exports: Path) -> None:
        self._exports = exports

    def urls(self) -> frozenset[str]:
        """The addresses of these folders."""
        return frozenset(str(target) for target in known_targets(self._exports))

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many rows and lines of each object name the person."""
        for target in known_targets(self._exports):
            yield from self._each(target, person, None, watch)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Replace the objects that have some. Exports to the folder wait meanwhile."""
        for target in known_targets(self._exports):
            try:
                with target.held():
                    yield from self._each(target, person, change, watch)
            except DispatcherError as error:
                yield Found(place=self.name, where=str(target), left=str(error))

    def _each(self, target: BucketTarget, person: Person, change: Change | None, watch: Watcher) -> Iterator[Found]:
        try:
            objects = [one for one in target.bucket.list() if one["path"].endswith((".parquet", ".jsonl"))]
            total, done = sum(one["size"] for one in objects), 0
            for one in objects:
                watch(f"reading {target}", done, total)
                yield self._one(target, one, person, change)
                done += one["size"]
        except DispatcherError as error:
            yield Found(place=self.name, where=str(target), left=str(error))

    def _one(self, target: BucketTarget, one: dict[str, Any], person: Person, change: Change | None) -> Found:
        name = one["path"]
        where = f"{target}/{name}"
        try:
            # For nobody else's eyes, and gone behind this.
            with TemporaryDirectory(dir=self._exports) as directory:
                path = Path(directory) / name.rpartition("/")[2]
                content, known = target.bucket.get(name)
                path.write_bytes(content)
                found = self._go_through(path, person, change)
                if change is not None and found.events and not found.left:
                    _replace(target, name, path, known)
        except OSError as error:
            return Found(place=self.name, where=where, left=str(error))
        except ObjectChangedError:
            return Found(place=self.name, where=where, left="it was replaced meanwhile: run it again")
        return msgspec.structs.replace(found, where=where)

    def _go_through(self, path: Path, person: Person, change: Change | None) -> Found:
        if path.suffix == ".jsonl":
            if change is None:
                return next(count_each(self.name, [path], person, _ignore))
            return rewrite_one(self.name, path, person, change.line, _ignore)
        named, rows = go_through(path, person, change)
        return Found(place=self.name, where=str(path), events=named, of=rows)


def _replace(target: BucketTarget, name: str, path: Path, known: dict[str, Any]) -> None:
    if path.exists():
        target.bucket.put(name, path, replaces=known)
    else:
        target.bucket.delete(name)


def _ignore(_what: str, _done: int, _of: int) -> None:
    """Objects are small."""
