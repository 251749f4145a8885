"""Reader: the lines of a log as events, and the errors of those that cannot be read, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dispatcher.edx_log.parse import UnreadableLineError, read_line
from dispatcher.edx_log.source import READ_ERRORS, Line, Source
from dispatcher.event import Event

# Characters of an error: some quote the line.
_ERROR_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True)
class LineError:
    """Why a line cannot be read.

    Args:
        source: The name of the log.
        number: The line's number.
        reason: Why, for a person.
    """

    source: str
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.source}:{self.number}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedLine:
    """One line of a log. An empty one has neither an event nor an error.

    Args:
        line: None where the log cannot be read on.
        event: The line's event.
        error: Why the line has no event.
    """

    line: Line | None
    event: Event | None = None
    error: LineError | None = None

    @property
    def is_unfinished(self) -> bool:
        """Whether reading it again, later, may give another answer."""
        return self.error is not None and (self.line is None or not self.line.is_whole)


def parse_lines(source: Source) -> Iterator[ParsedLine]:
    """All lines from where the source stands. A log that is damaged in the middle ends with an error."""
    lines = source.lines()
    while True:
        try:
            line = next(lines, None)
        except READ_ERRORS as error:
            reason = f"it cannot be read on behind this line: {str(error) or type(error).__name__}"
            yield ParsedLine(line=None, error=LineError(source.name, source.line_number, reason))
            return
        if line is None:
            return
        yield _parse(source, line)


def _parse(source: Source, line: Line) -> ParsedLine:
    if not line.content.strip():
        return ParsedLine(line=line)
    if line.is_too_long:
        reason = f"it has more than {len(line.content):,} bytes"
        return ParsedLine(line=line, error=LineError(source.name, line.number, reason))
    try:
        return ParsedLine(line=line, event=read_line(line.content))
    except UnreadableLineError as error:
        reason = str(error)[:_ERROR_CHARACTERS]
        return ParsedLine(line=line, error=LineError(source.name, line.number, reason))
