"""Reading: the lines of a log as events, and what could not be read with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dispatcher.edx_log.parse import UnreadableLineError, read_line
from dispatcher.edx_log.source import READ_ERRORS, Line, Source
from dispatcher.event import Event


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that could not be read, and why."""

    source: str
    number: int
    error: str

    def __str__(self) -> str:
        return f"{self.source}:{self.number}: {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What came of one line: an event, a complaint, or neither where it is empty.

    Args:
        line: None where the log cannot be read on.
    """

    line: Line | None
    event: Event | None = None
    complaint: Complaint | None = None

    @property
    def is_unfinished(self) -> bool:
        """Whether reading it again, later, may give another answer."""
        return self.complaint is not None and (self.line is None or not self.line.is_whole)


def read_on(source: Source) -> Iterator[Reading]:
    """All that follows in a log. A log that is damaged in the middle ends with a complaint."""
    lines = source.lines()
    while True:
        try:
            line = next(lines, None)
        except READ_ERRORS as error:
            said = f"it cannot be read on behind this line: {str(error) or type(error).__name__}"
            yield Reading(line=None, complaint=Complaint(source.name, source.line_number, said))
            return
        if line is None:
            return
        yield _read(source, line)


def _read(source: Source, line: Line) -> Reading:
    if not line.content.strip():
        return Reading(line=line)
    if line.is_too_long:
        said = f"it has more than {len(line.content):,} bytes"
        return Reading(line=line, complaint=Complaint(source.name, line.number, said))
    try:
        return Reading(line=line, event=read_line(line.content))
    except UnreadableLineError as error:
        return Reading(line=line, complaint=Complaint(source.name, line.number, str(error)[:500]))
