"""In logs: the line of an event in a tracking log and its rotated files, with its number and where it begins.

A log is nearly in order of time, and an id of emit says the event's time. So the line is looked for near that time
first, and in all of the file only where it is not there: a late event, or one with an id of somebody else's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.edx_log.parse import UnreadableLineError, read_line
from dispatcher.edx_log.record import BrokenLineError, context_of, id_of, json_of, read_record
from dispatcher.edx_log.source import READ_ERRORS, decompressed
from dispatcher.find.wanted import Finding, Wanted, id_text

if TYPE_CHECKING:
    from dispatcher.event import Event

_CHUNK: Final = 1 << 22
_COUNTED: Final = 1 << 20
# Bytes that are read from the time of an event on, before all of the file is.
_NEAR_BYTES: Final = 1 << 25
# Seconds by which lines that stand side by side may be out of order: emit's clock, and the linger of a relay.
_DISORDER_SECONDS: Final = 5.0
# Bytes up to which the place of a time is narrowed down, and those in which a line ends.
_NARROW_BYTES: Final = 1 << 20
_LINE_BYTES: Final = 1 << 16
# The time of a line of any format. What an event holds may look so too; then its place is looked for elsewhere.
_TIME: Final = re.compile(rb'"time(?:stamp)?": ?"(\d{4}-\d\d-\d\d[T ][0-9:.]{8,15}(?:Z|[+-]\d\d:\d\d)?)"')
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True)
class LoggedLine:
    """A line of a log.

    Args:
        file: The log.
        number: Counted from 1.
        offset: Where it begins, in bytes of the log before it was compressed.
        content: Its bytes, without the line break.
        event: Its event.
    """

    file: Path
    number: int
    offset: int
    content: bytes
    event: Event


def find_in_log(path: Path, wanted: Wanted, *, max_bytes: int | None) -> Iterator[tuple[Finding, LoggedLine]]:
    """The lines of the events that are wanted. Blocks: a gigabyte takes a second where it has to be read whole.

    Args:
        path: The log. Its rotated files are beside it.
        wanted: Those; what was not looked through is noted there.
        max_bytes: How much is read of files that have to be read whole, the newest first; None for all.
    """
    try:
        files = log_files(path)
    except OSError as error:
        wanted.note(f"the log {path} cannot be read: {error.strerror}")
        return
    missing = dict(wanted.findings)
    left = max_bytes
    for file in files:
        for finding in list(missing.values()):
            try:
                status = file.stat()
                if finding.since is not None and status.st_mtime < finding.since.timestamp():
                    continue
                line = _find_near(file, finding)
                if line is None and left is not None and status.st_size > left:
                    wanted.note(f"of {file.name} only the part was looked through in which the event should be")
                    continue
                if line is None:
                    left = None if left is None else left - status.st_size
                    line = _find_in_all(file, finding)
            except READ_ERRORS as error:
                wanted.note(f"{file} cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}")
                continue
            if line is not None:
                del missing[finding.id]
                yield finding, line


def log_files(path: Path) -> list[Path]:
    """The log and what it was rotated to, the newest first. Raises OSError."""
    found = [
        (entry.stat().st_mtime_ns, entry.name)
        for entry in os.scandir(path.parent)
        if entry.name.startswith(path.name) and entry.is_file()
    ]
    return [path.with_name(name) for _, name in sorted(found, reverse=True)]


def _find_near(path: Path, finding: Finding) -> LoggedLine | None:
    """The line, if it is where the time of the event says it should be. Always None for a compressed file."""
    if finding.emitted is None:
        return None
    with path.open("rb") as file:
        if file.read(4).startswith((_GZIP, _ZSTD)):
            return None
        start = _place_of(file, finding.emitted.timestamp() - _DISORDER_SECONDS)
        file.seek(start)
        line = _find_from_here(path, file, finding, max_bytes=_NEAR_BYTES)
        if line is None:
            return None
        return replace(line, number=line.number + count_lines(file.fileno(), start), offset=line.offset + start)


def _place_of(file: IO[bytes], seconds: float) -> int:
    """The beginning of a line before which all lines are older, if the log is in order of time."""
    low, high = 0, file.seek(0, os.SEEK_END)
    while high - low > _NARROW_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        time = _time_in(file.read(_LINE_BYTES))
        if time is not None and time < seconds:
            low = middle
        else:
            high = middle
    if low == 0:
        return 0
    file.seek(low)
    return low + file.read(_NARROW_BYTES).find(b"\n") + 1


def _time_in(content: bytes) -> float | None:
    """The time of the first whole line of some bytes; None where none has one."""
    start = content.find(b"\n") + 1
    end = content.find(b"\n", start)
    # edX's format has the time at the end of a line, and others have it at the beginning.
    times = _TIME.findall(content[start : None if end < 0 else end])
    try:
        return datetime.fromisoformat(times[-1].decode()).timestamp() if times else None
    except ValueError:
        return None


def _find_in_all(path: Path, finding: Finding) -> LoggedLine | None:
    with path.open("rb") as raw:
        return _find_from_here(path, decompressed(raw), finding)


def _find_from_here(path: Path, file: Any, finding: Finding, *, max_bytes: int | None = None) -> LoggedLine | None:
    """The line, with its number and offset counted from where the file stands."""
    position = lines = 0
    rest = b""
    while (max_bytes is None or position < max_bytes) and (chunk := file.read(_CHUNK)):
        text = rest + chunk
        end = text.rfind(b"\n") + 1
        whole, rest = text[:end], text[end:]
        if (found := _line_of(whole, finding)) is not None:
            at, line, event = found
            return LoggedLine(path, 1 + lines + _line_breaks(whole, at), position + at, line, event)
        lines += _line_breaks(whole, end)
        position += end
    if (found := _line_of(rest, finding)) is not None:
        return LoggedLine(path, 1 + lines, position, found[1], found[2])
    return None


def _line_of(content: bytes, finding: Finding) -> tuple[int, bytes, Event] | None:
    """The event's line in some bytes, which begin with one: where it begins, the line, and its event."""
    needle = id_text(finding.id)
    at = content.find(needle)
    while at >= 0:
        start = content.rfind(b"\n", 0, at) + 1
        end = content.find(b"\n", at)
        line = content[start:] if end < 0 else content[start:end]
        event = event_of(line)
        # The data of another event may hold the id too.
        if event is not None and event.id == finding.id:
            return start, line, event
        at = content.find(needle, start + len(line))
    return None


def event_of(line: bytes) -> Event | None:
    """The event of a line, with the id that stands there, whatever its form; None where the line cannot be read."""
    try:
        event, body = read_line(line), json_of(line)
        record = read_record(body)
        return msgspec.structs.replace(event, id=id_of(record, context_of(record), body))
    except (UnreadableLineError, BrokenLineError):
        return None


def count_lines(fd: int, end: int) -> int:
    """How many lines a plain file has before a position, at three gigabytes a second."""
    # One buffer again and again: its memory stays where the processor has it at hand.
    buffer = bytearray(_COUNTED)
    lines = position = 0
    while position < end and (size := os.preadv(fd, [buffer], position)):
        lines += _line_breaks(buffer, min(size, end - position))
        position += size
    return lines


def _line_breaks(text: bytes | bytearray, end: int) -> int:
    """How many line breaks stand before a place. Python 3.11 and 3.12 take three times as long for ``text.count``."""
    count, at = 0, text.find(b"\n", 0, end)
    while at >= 0:
        count += 1
        at = text.find(b"\n", at + 1, end)
    return count
