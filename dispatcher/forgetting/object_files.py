"""ObjectFiles: the objects under one address of a bucket, each counted or replaced, whatever is wrong with the others.

An object is replaced by one request, if it still is what was read: nobody sees half of one, and what came meanwhile is
not lost.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from dispatcher.errors import DispatcherError
from dispatcher.exports.bucket.bucket import Bucket, BucketError, ObjectChangedError, ObjectUnreadableError
from dispatcher.exports.bucket.log_object import LogObject
from dispatcher.forgetting.change import Change
from dispatcher.forgetting.closed_files import why_closed
from dispatcher.forgetting.log_file import LogFile
from dispatcher.forgetting.log_reader import LogFileError, LogReader, ignore
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found, Watcher
from dispatcher.forgetting.search import LineSearch
from dispatcher.installation.extras import install_command

#: Where copies go, within the state directory: a directory for each place.
WORK: Final = Path("forgetting", "work")
# Objects that are read at a time: nearly all of the time is spent waiting for answers.
_READERS: Final = 8
# Objects that wait for a reader, or for who takes what was found.
_WINDOW: Final = 4 * _READERS
# So many in turn that the bucket did not give say that it will give no other: each was tried again for a minute.
_MAX_TROUBLES: Final = 10
# Bytes of a large object that are copied at a time.
_COPIED_BYTES: Final = 8 << 20


class ObjectFiles:
    """The logs, and exports, under an address: a ``Place``. For one thread; whoever writes there goes on meanwhile.

    Args:
        place: The name of the place.
        bucket: The address.
        work: A directory of this machine for copies of the objects that are replaced, for nothing else.
        takes: Whether an object of that name is looked at.
    """

    def __init__(self, place: str, bucket: Bucket, work: Path, takes: Callable[[str], bool]) -> None:
        self.name: Final = place
        self._bucket = bucket
        self._work = work
        self._takes = takes
        self._troubles = 0

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many lines of each folder name the person, and each object that cannot be read."""
        yield from self._each_folder(person, None, watch)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Replace the objects that have some; those in which nothing is left are deleted."""
        # What a run leaves that was killed names the person.
        shutil.rmtree(self._work, ignore_errors=True)
        yield from self._each_folder(person, change, watch)
        with suppress(OSError):  # somebody may be looking at the same time
            self._work.rmdir()

    def _each_folder(self, person: Person, change: Change | None, watch: Watcher) -> Iterator[Found]:
        self._troubles = 0
        search = LineSearch(person)
        try:
            folders, loose = self._bucket.top()
        except DispatcherError as error:
            yield Found(place=self.name, where=self._bucket.url, left=str(error))
            return
        with ThreadPoolExecutor(_READERS) as pool:
            for number, folder in enumerate(("", *folders)):
                watch(f"reading {self._bucket.url}", number, len(folders) + 1)
                objects = self._bucket.list(folder) if folder else loose
                yield from self._folder(folder, objects, lambda one: self._one(one, person, search, change), pool)
                if self._troubles >= _MAX_TROUBLES:
                    why = f"{self._troubles} objects in turn could not be read, and the rest was left out: run it again"
                    yield Found(place=self.name, where=self._bucket.url, left=why)
                    return

    def _folder(
        self, folder: str, objects: Iterable[dict[str, Any]], go: Callable[[LogObject], Found], pool: ThreadPoolExecutor
    ) -> Iterator[Found]:
        """One line for all that went well, and one for each that did not: an archive may have a million objects."""
        where = f"{self._bucket.url}/{folder}" if folder else self._bucket.url
        events = of = 0
        try:
            for found in _in_order(pool, go, self._logs(objects)):
                events, of = events + found.events, of + found.of
                if found.left:
                    yield found
                if self._troubles >= _MAX_TROUBLES:
                    break
        except DispatcherError as error:
            self._troubles += 1
            yield Found(place=self.name, where=where, left=str(error))
        yield Found(place=self.name, where=where, events=events, of=of)

    def _logs(self, objects: Iterable[dict[str, Any]]) -> Iterator[LogObject]:
        for one in objects:
            if one["size"] and self._takes(one["path"]):
                yield LogObject(bucket=self._bucket, name=one["path"], size=one["size"], e_tag=one["e_tag"] or "")

    def _one(self, log: LogObject, person: Person, search: LineSearch, change: Change | None) -> Found:
        if (why := why_closed(log.name)) is not None:
            return Found(place=self.name, where=str(log), left=why)
        try:
            if log.name.endswith(".parquet"):
                named, lines = self._table(log, person, change)
            else:
                named, lines = LogReader(log).count(search, ignore)
                if named and change is not None:
                    with self._copied(log) as path:
                        named, lines = LogFile(path).rewrite(search, change.line, ignore)
                        self._replace(log, path if any(LogReader(path).blocks()) else None)
        except BucketError as error:
            self._troubles += 1
            return Found(place=self.name, where=str(log), left=str(error))
        except ObjectChangedError:
            return Found(place=self.name, where=str(log), left="it was replaced meanwhile: run it again")
        except (OSError, DispatcherError) as error:
            left = error.__cause__ if isinstance(error.__cause__, ObjectUnreadableError) else error
            return Found(place=self.name, where=str(log), left=str(left))
        self._troubles = 0
        return Found(place=self.name, where=str(log), events=named, of=lines)

    def _table(self, log: LogObject, person: Person, change: Change | None) -> tuple[int, int]:
        if find_spec("pyarrow") is None:
            raise LogFileError(f"it is Parquet: {install_command('export')}")
        from dispatcher.forgetting.parquet_file import go_through  # noqa: PLC0415 - the extra

        with self._copied(log) as path:
            named, rows = go_through(path, person, change)
            if named and change is not None:
                self._replace(log, path if path.exists() else None)
        return named, rows

    @contextmanager
    def _copied(self, log: LogObject) -> Iterator[Path]:
        """A copy on this machine, for nobody else's eyes, and gone behind this."""
        self._work.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._work) as directory:
            path = Path(directory) / "object"
            with log.open() as content, path.open("wb") as copy:
                shutil.copyfileobj(content, copy, _COPIED_BYTES)
            if path.stat().st_size != log.size:
                raise LogFileError(f"{log} was cut off on its way: run it again")
            yield path

    def _replace(self, log: LogObject, path: Path | None) -> None:
        if path is None:
            self._bucket.delete(log.name)
        else:
            self._bucket.put(log.name, path, replaces={"e_tag": log.e_tag})


def _in_order(pool: ThreadPoolExecutor, go: Callable[[LogObject], Found], logs: Iterable[LogObject]) -> Iterator[Found]:
    """What becomes of each, in their order, some at a time."""
    waiting: deque[Future[Found]] = deque()
    try:
        for log in logs:
            waiting.append(pool.submit(go, log))
            if len(waiting) >= _WINDOW:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
