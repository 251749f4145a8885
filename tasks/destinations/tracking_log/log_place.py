"""LogPlace: where a tracking log and its rotated files have events of a person, and how these are taken out."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dispatcher.forgetting.line_files import count_each, rewrite_one
from dispatcher.forgetting.log_reader import LogFileError
from dispatcher.forgetting.place import Found
from dispatcher.tasks.destinations.tracking_log.rotation import siblings

if TYPE_CHECKING:
    from dispatcher.forgetting.change import Change
    from dispatcher.forgetting.person import Person
    from dispatcher.forgetting.place import Watcher
    from dispatcher.tasks.destinations.tracking_log.appender import Appender


class LogPlace:
    """One tracking log. For one thread; workers go on appending meanwhile.

    Args:
        destination: The name of its destination.
        path: The log.
        appender: Appends to it, and holds its lock.
    """

    def __init__(self, destination: str, path: Path, appender: Appender) -> None:
        self.name: Final = destination
        self._path = path
        self._appender = appender

    def look(self, person: Person, watch: Watcher) -> Iterator[Found]:
        """How many lines of each file name the person."""
        yield from count_each(self.name, self._files(), person, watch)

    def forget(self, person: Person, change: Change, watch: Watcher) -> Iterator[Found]:
        """Rewrite the files that have lines of the person. The log that is written to is rotated before."""
        for found in list(count_each(self.name, self._files(), person, watch)):
            if not found.events or found.left:
                yield found
                continue
            path = Path(found.where)
            if path == self._path:
                try:
                    path = self._appender.set_aside() or path
                except OSError as error:
                    yield Found(place=self.name, where=str(path), left=f"it cannot be rotated: {error}; run it again")
                    continue
            yield rewrite_one(self.name, path, person, change.line, watch, hold=_hold)

    def _files(self) -> list[Path]:
        return siblings(self._path) if self._path.parent.is_dir() else []


@contextmanager
def _hold(path: Path) -> Iterator[None]:
    """Keep workers from compressing the file meanwhile."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogFileError(f"{path} is being compressed: run it again") from None
        yield
