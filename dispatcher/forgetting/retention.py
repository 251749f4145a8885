"""Retention: whole files and whole days that are older than they may get, by the times of the events in them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from dispatcher.forgetting.log_reader import LogFileError, LogReader
from dispatcher.store.dead_letter_files import directory_of, read

if TYPE_CHECKING:
    from dispatcher.config import Settings

# The day of a line's time, which all formats of the log write in UTC.
_DAY: Final = re.compile(rb'"time(?:stamp)?": ?"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]')
# The second form is what a run leaves that was killed while it deleted a day.
_DAY_DIRECTORY: Final = re.compile(r"\.?date=([0-9]{4}-[0-9]{2}-[0-9]{2})(?:\.deleted)?")


class Aged(msgspec.Struct, frozen=True, kw_only=True):
    """A file, or the directory of a day, that is older than it may get.

    Args:
        path: Where it is.
        oldest: The day of its oldest event, as YYYY-MM-DD; empty where it has no time.
        newest: That of its newest.
        left: Why it stays; empty where it is to be deleted.
    """

    path: str
    oldest: str = ""
    newest: str = ""
    left: str = ""


def find_aged(settings: Settings, today: date) -> Iterator[Aged]:
    """What is older than the settings say, and what stays although it may be. Reads every file that may be.

    Args:
        settings: How old what may get, and what is held.
        today: In UTC.
    """
    kept = settings.retention
    if kept.log_days is not None:
        for path in _rotated_logs(settings):
            yield from _judge(settings, path, partial(_days_of_log, path), today, kept.log_days)
    if kept.export_days is not None:
        for directory in settings.forgetting.directories:
            for path in sorted((*directory.glob("date=*"), *directory.glob(".date=*"))):
                if _DAY_DIRECTORY.fullmatch(path.name) is not None:
                    yield from _judge(settings, path, partial(_day_of_directory, path), today, kept.export_days)
    if kept.dead_letter_days is not None:
        for path in sorted(directory_of(settings.state_directory).glob("*.jsonl.gz")):
            yield from _judge(settings, path, partial(_days_of_letters, path), today, kept.dead_letter_days)


def delete(aged: Aged) -> Aged:
    """Delete what is aged. Returns it, with why it stays where it cannot be deleted."""
    path = Path(aged.path)
    try:
        if path.is_dir():
            # Under a name that nobody reads, so that no reader sees half of a day.
            hidden = path if path.name.startswith(".") else path.with_name(f".{path.name}.deleted")
            path.rename(hidden)
            shutil.rmtree(hidden)
        else:
            path.unlink()
    except OSError as error:
        return msgspec.structs.replace(aged, left=f"it cannot be deleted: {error.strerror or error}")
    return aged


def _judge(
    settings: Settings, path: Path, days_of: Callable[[], list[str]], today: date, max_days: int
) -> Iterator[Aged]:
    try:
        days = days_of()
        found = [date.fromisoformat(day) for day in (min(days), max(days))] if days else []
    except (OSError, ValueError, LogFileError) as error:
        yield Aged(path=str(path), left=f"its age is unknown: {error}")
        return
    if not found:
        yield Aged(path=str(path), left="its age is unknown: no line has a time")
        return
    oldest, newest = found
    if newest >= today - timedelta(days=max_days):
        return
    held = [name for name, hold in settings.retention.holds.items() if hold.covers(oldest, newest)]
    left = f"the legal hold {held[0]} keeps it: {settings.retention.holds[held[0]].reason}" if held else ""
    yield Aged(path=str(path), oldest=oldest.isoformat(), newest=newest.isoformat(), left=left)


def _rotated_logs(settings: Settings) -> list[Path]:
    """The rotated files of all tracking logs; never the log that is written to."""
    logs = [
        Path(str(path))
        for table in settings.destinations.values()
        if table.traits.log is not None and (path := table.options.get(table.traits.log))
    ]
    found = [other for log in logs for other in log.parent.glob(f"{log.name}[-.]*") if other.is_file()]
    return sorted(path for path in dict.fromkeys(found) if path not in logs)


def _days_of_log(path: Path) -> list[str]:
    """The days of the oldest and the newest line."""
    oldest, newest = "", ""
    for block in LogReader(path).blocks():
        days = {found.decode() for found in _DAY.findall(block)}
        if days:
            oldest, newest = min(oldest or "9", *days), max(newest, *days)
    return [oldest, newest] if newest else []


def _day_of_directory(path: Path) -> list[str]:
    found = _DAY_DIRECTORY.fullmatch(path.name)
    return [found[1]] if found is not None else []


def _days_of_letters(path: Path) -> list[str]:
    """The days on which the dead letters of a file died."""
    died = {letter.died_ms // 86_400_000 for letter in read(path, "")}
    return [datetime.fromtimestamp(day * 86_400, UTC).date().isoformat() for day in died]
