"""Places: where object storage has lines of a person, and how these are taken out.

Objects keep their names and their notes of batches, so that a batch that comes again is still known.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dispatcher.exports.bucket.bucket import RETRY_SECONDS, Bucket
from dispatcher.forgetting.line_files import count_each, rewrite_one
from dispatcher.forgetting.log_file import is_written_to
from dispatcher.forgetting.log_reader import LogFileError, LogReader
from dispatcher.forgetting.object_files import WORK, ObjectFiles
from dispatcher.tasks.destinations.object_storage.log_object import SUFFIXES

if TYPE_CHECKING:
    from dispatcher.forgetting.change import Change
    from dispatcher.forgetting.person import Person
    from dispatcher.forgetting.place import Found, Place, Watcher
    from dispatcher.tasks.destinations.object_storage.bucket import Bucket as StorageBucket

# What the client calls a file until it is whole; one of a worker that was killed stays.
_UNFINISHED: Final = re.compile(r".+\.log\.(?:gz|zst)#\d+")
# Seconds after which nobody writes to such a file any more: longer than any request.
_ABANDONED_SECONDS: Final = 3600.0
_MAX_RETRIES: Final = 10


def is_log(name: str) -> bool:
    """Whether an object of that name is one of ours."""
    return name.endswith(tuple(SUFFIXES.values()))


class OpenBucket(Bucket, frozen=True, kw_only=True):
    """A bucket with a client that was made with the destination's own credentials.

    Args:
        opened: The client.
    """

    opened: Any

    def client(self) -> Any:
        """It."""
        return self.opened


class DirectoryPlace:
    """The objects of one destination in a directory. For one thread; workers go on writing meanwhile.

    Args:
        destination: The name of the destination.
        directory: The directory, which need not exist.
    """

    def __init__(self, destination: str, directory: Path) -> None:
        self.name: Final = destination
        self._directory = directory

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many lines of each file name the person."""
        yield from count_each(self.name, self._logs(), person, watch)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Rewrite the files that have some; delete those in which nothing is left, and what killed workers left."""
        for path in self._logs():
            if _is_abandoned(path):
                path.unlink(missing_ok=True)
        for found in list(count_each(self.name, self._logs(), person, watch)):
            if not found.events:
                yield found
                continue
            path = Path(found.where)
            yield rewrite_one(self.name, path, person, change.line, watch)
            if _is_empty(path):
                path.unlink(missing_ok=True)

    def _logs(self) -> list[Path]:
        return sorted(
            path for path in self._directory.rglob("*.log.*") if is_log(path.name) or _UNFINISHED.fullmatch(path.name)
        )


def find_place(destination: str, url: str, bucket: StorageBucket, state_directory: Path | None) -> Place:
    """The place of a destination. Opens nothing yet.

    Args:
        destination: Its name.
        url: Where its objects are.
        bucket: What it puts them into.
        state_directory: Where copies of what is replaced go; None only for a directory, which needs none.
    """
    if bucket.directory is not None:
        return DirectoryPlace(destination, bucket.directory)
    assert state_directory is not None, "whose state it is must be known"
    opened = bucket.open(max_retries=_MAX_RETRIES, retry_seconds=RETRY_SECONDS)
    return ObjectFiles(destination, OpenBucket(url=url, opened=opened), state_directory / WORK / destination, is_log)


def _is_abandoned(path: Path) -> bool:
    if _UNFINISHED.fullmatch(path.name) is None:
        return False
    try:
        return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS and not is_written_to(path)
    except OSError:
        return False


def _is_empty(path: Path) -> bool:
    with suppress(OSError, LogFileError):
        return not any(LogReader(path).blocks())
    return False
