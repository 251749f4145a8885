"""Selection: which events are meant by their user, name and time: those that logs and dead letters have of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

import msgspec

from dispatcher.edx_log.source import READ_ERRORS, Source
from dispatcher.errors import StoreUnavailableError
from dispatcher.event import Event, users_of
from dispatcher.find.in_logs import event_of, log_files
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_letter import DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters

if TYPE_CHECKING:
    from pathlib import Path

    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

# Lines between two reports of how far the reading is.
_LINES_AT_ONCE: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of the events that somebody means. Everything that is given has to hold.

    Args:
        user: The id or the name of their user, in context or data.
        name: Their name, or a glob of it.
        since: They happened then or later.
        until: They happened before then.
    """

    user: str | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __contains__(self, event: Event) -> bool:
        return (
            (self.name is None or fnmatchcase(event.name, self.name))
            and (self.user is None or self.user in users_of(event))
            and (self.since is None or event.timestamp >= self.since)
            and (self.until is None or event.timestamp < self.until)
        )

    @property
    def needle(self) -> bytes:
        """What stands in the line of each of them, so that others need not be read; may be empty."""
        return b"" if self.user is None else msgspec.json.encode(self.user)[1:-1]


@dataclass(frozen=True, slots=True)
class Selected:
    """The events that were found.

    Args:
        ids: Their ids, the oldest first.
        more: How many older ones were left out.
        problems: What could not be read, and why.
    """

    ids: list[str]
    more: int
    problems: list[str]


def select_events(
    settings: Settings,
    pool: RedisPool,
    wanted: Description,
    *,
    limit: int,
    progress: Callable[[int, int], None],
) -> Selected:
    """The latest events that are meant. Blocks: a gigabyte of logs takes some seconds, or ten without a user.

    Args:
        settings: Where the logs are.
        pool: For the dead letters.
        wanted: Which events.
        limit: How many at the most.
        progress: Called with the bytes that were read, and those of all files.

    """
    found: dict[str, datetime] = {}
    problems: list[str] = []
    files = log_files_since(settings, wanted.since, problems)
    total, read = sum(size for _, size in files), 0
    for path, size in files:
        try:
            for event, done in _events_of(path, wanted):
                progress(read + done, total)
                if event is not None:
                    found[event.id] = event.timestamp
        except READ_ERRORS as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            problems.append(f"{path} cannot be read: {why}")
        read += size
    try:
        found |= _dead_ones(settings, pool, wanted)
    except StoreUnavailableError as error:
        problems.append(f"the dead letters in Redis: {error}")
    latest = sorted(found, key=found.__getitem__)
    return Selected(latest[-limit:], max(0, len(latest) - limit), problems)


def _dead_ones(settings: Settings, pool: RedisPool, wanted: Description) -> dict[str, datetime]:
    dead = DeadLetterFilter(name=wanted.name, user=wanted.user, since=wanted.since)
    letters = DeadLetters(pool)
    events = (letter.event for name in [*settings.destinations, NOT_TAKEN] for letter in letters.select(name, dead))
    return {event.id: event.timestamp for event in events if event is not None and event in wanted}


def log_files_since(settings: Settings, since: datetime | None, problems: list[str]) -> list[tuple[Path, int]]:
    """The logs of this machine and what they were rotated to, the oldest first, and their sizes.

    Args:
        settings: Where they are.
        since: Logs that were last written to before then are left out.
        problems: Gets what could not be read.
    """
    found: dict[Path, int] = {}
    for table in settings.served_destinations.values():
        log = table.traits.log
        if log is None or not (path := table.options.get(log)):
            continue
        try:
            for file in reversed(log_files(settings.state_directory / str(path))):
                status = file.stat()
                if since is None or status.st_mtime >= since.timestamp():
                    found[file] = status.st_size
        except OSError as error:
            problems.append(f"the log {path} cannot be read: {error.strerror}")
    return list(found.items())


def _events_of(path: Path, wanted: Description) -> Iterator[tuple[Event | None, int]]:
    """The events of a log that are meant, and how many bytes were read; None for the latter alone, now and then."""
    needle = wanted.needle
    with Source(path) as source:
        for line in source.lines():
            if line.number % _LINES_AT_ONCE == 0:
                yield None, source.consumed
            if needle not in line.content or line.is_too_long:
                continue
            event = event_of(line.content)
            if event is not None and event in wanted:
                yield event, source.consumed
