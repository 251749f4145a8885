"""PartReading: one part of a log becomes Parquet files, with sorted rows of one day each, in a process of its own."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from typing import IO, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from dispatcher.edx_log.record import LINE_PROBLEMS, LineProblem
from dispatcher.edx_log.source import READ_ERRORS
from dispatcher.exports.day_files import write_rows
from dispatcher.exports.event_rows import BATCH_ROWS, EventRows, by_day, sorted_rows
from dispatcher.exports.log_parts import LineBlock, LogPart, read_blocks
from dispatcher.exports.pseudonyms import Pseudonyms
from dispatcher.outcomes import FORGOTTEN
from dispatcher.suppression.forgotten_lines import FORGOTTEN_LINE, ForgottenLines
from dispatcher.suppression.suppression_list import SuppressionList

# Rows of a file, and their bytes, which a process holds: with twice as many, two processes need more than a gigabyte.
_FILE_ROWS: Final = 61_440
_FILE_BYTES: Final = 256 << 20
# Days whose rows are held at a time: a log has one or two, and one whose lines were mixed may have them all.
_MAX_DAYS: Final = 366
# Characters of a broken line that are kept.
_KEPT_CHARACTERS: Final = 4_000
_RESULT: Final = "result.json"


class PartResult(msgspec.Struct, kw_only=True):
    """What became of the lines of a part.

    Args:
        lines: How many there were.
        rows: How many became rows.
        left_out: How many did not, by reason: ``empty``, ``unfinished``, ``not_chosen``, ``forgotten``.
        broken: How many were no records, by problem.
        days: The rows of each day.
        ended: Why the log could not be read on; empty where it was read to its end.
    """

    lines: int = 0
    rows: int = 0
    left_out: dict[str, int] = msgspec.field(default_factory=dict)
    broken: dict[str, int] = msgspec.field(default_factory=dict)
    days: dict[str, int] = msgspec.field(default_factory=dict)
    ended: str = ""


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are exported: those for which everything that is given holds.

    Args:
        since: Events of that time or later.
        until: Events before that time.
    """

    since: datetime | None = None
    until: datetime | None = None

    def of(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Those of some rows that are exported."""
        if self.since is not None:
            rows = rows.filter(pc.greater_equal(rows.column("timestamp"), pa.scalar(self.since)))
        if self.until is not None:
            rows = rows.filter(pc.less(rows.column("timestamp"), pa.scalar(self.until)))
        return rows


def files_of(directory: Path, day: str) -> list[Path]:
    """The files of a day in what was read of a part, in the order in which they were written."""
    return sorted(directory.glob(f"{day}.*.parquet"))


def read_result(directory: Path) -> PartResult | None:
    """What became of a part that an earlier process has read; None where it was not read to its end."""
    try:
        result = msgspec.json.decode((directory / _RESULT).read_bytes(), type=PartResult)
    except FileNotFoundError:
        return None
    return None if result.ended else result


def read_part(
    part: LogPart,
    directory: Path,
    chosen: Chosen,
    consume: Callable[[int], None],
    suppressed: SuppressionList | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> PartResult:
    """Read a part, and leave its files, its broken lines and its result in a directory, all at once.

    Args:
        part: What is read.
        directory: Appears when everything is in it.
        chosen: Which events are wanted.
        consume: Told now and then how many more bytes of the file were read.
        suppressed: Who is to be forgotten; None: nobody.
        pseudonyms: What people are called; None: as in the log.

    Raises:
        DispatcherError: The log was rotated meanwhile, or the list of who is to be forgotten cannot be read.
        OSError: The disk is full.
    """
    unfinished = directory.with_name(directory.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with (unfinished / "broken.jsonl").open("wb") as broken:
        result = _PartReading(part, unfinished, chosen, broken, ForgottenLines(suppressed), pseudonyms).run(consume)
    (unfinished / _RESULT).write_bytes(msgspec.json.encode(result))
    # What an earlier process could not read to its end.
    shutil.rmtree(directory, ignore_errors=True)
    unfinished.rename(directory)
    return result


class _PartReading:
    def __init__(
        self,
        part: LogPart,
        directory: Path,
        chosen: Chosen,
        broken: IO[bytes],
        forgotten: ForgottenLines,
        pseudonyms: Pseudonyms | None,
    ) -> None:
        self._part = part
        self._directory = directory
        self._chosen = chosen
        self._broken = broken
        self._forgotten = forgotten
        self._pseudonyms = pseudonyms
        self._under_way = EventRows(str(part.path))
        # Of each day, and of all days; which is counted as they come, since there are many.
        self._rows: dict[date, list[pa.RecordBatch]] = {}
        self._held_rows = self._held_bytes = 0
        self._files = 0
        self._left_out: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()
        self._days: Counter[str] = Counter()
        self._lines = 0

    def run(self, consume: Callable[[int], None]) -> PartResult:
        blocks = read_blocks(self._part)
        consumed, ended = 0, ""
        while True:
            try:
                block = next(blocks, None)
            except READ_ERRORS as error:
                ended = str(error) or type(error).__name__
                break
            if block is None:
                break
            self._add(block)
            consume(block.consumed - consumed)
            consumed = block.consumed
        self._take()
        for day in list(self._rows):
            self._write(day)
        consume(self._part.end - self._part.start - consumed)
        return PartResult(
            lines=self._lines,
            rows=self._days.total(),
            left_out=dict(self._left_out),
            broken=dict(self._problems),
            days=dict(self._days),
            ended=ended,
        )

    def _add(self, block: LineBlock) -> None:
        self._lines += len(block.lines)
        if block.is_unfinished:
            self._take()
        lines, number = self._forgotten.leave_out(block.lines), block.first_number
        # Where nobody is to be forgotten, all of them are one run.
        runs = [(False, lines)] if lines is block.lines else groupby(lines, lambda line: line == FORGOTTEN_LINE)
        for is_forgotten, found in runs:
            run = list(found)
            if is_forgotten:
                self._left_out[FORGOTTEN] += len(run)
            else:
                self._add_lines(run, number)
            number += len(run)
        if block.is_unfinished:
            self._take(is_unfinished=True)

    def _add_lines(self, lines: Sequence[bytes | None], number: int) -> None:
        if self._pseudonyms is not None:
            lines = [line if line is None else self._pseudonyms.line(line) for line in lines]
        added = 0
        while added < len(lines):
            added += self._under_way.add(lines[added : added + BATCH_ROWS], number + added)
            if self._under_way.is_full:
                self._take()

    def _take(self, *, is_unfinished: bool = False) -> None:
        rows, refused = self._under_way.take()
        for one in refused:
            if one.line is not None and not one.line.strip():
                self._left_out["empty"] += 1
            elif is_unfinished and one.line is not None:
                # Its writer is at work on it: the next export has it whole.
                self._left_out["unfinished"] += 1
            else:
                self._keep_broken(one.number, one.line, one.problem)
        chosen = self._chosen.of(rows)
        if len(chosen) < len(rows):
            self._left_out["not_chosen"] += len(rows) - len(chosen)
        for day, of_day in by_day(chosen):
            self._rows.setdefault(day, []).append(of_day)
            self._held_rows += len(of_day)
            self._held_bytes += of_day.nbytes
        while self._held_rows >= _FILE_ROWS or self._held_bytes >= _FILE_BYTES or len(self._rows) > _MAX_DAYS:
            self._write(max(self._rows, key=lambda day: _count(self._rows[day])))

    def _write(self, day: date) -> None:
        rows = self._rows.pop(day)
        self._held_rows -= _count(rows)
        self._held_bytes -= sum(one.nbytes for one in rows)
        self._days[day.isoformat()] += _count(rows)
        self._files += 1
        write_rows(sorted_rows(rows), self._directory / f"{day.isoformat()}.{self._files:06}.parquet")

    def _keep_broken(self, number: int, line: bytes | None, problem: LineProblem) -> None:
        self._problems[problem] += 1
        # Whom a broken line names, nobody knows.
        text = "" if line is None or self._pseudonyms is not None else line.decode(errors="backslashreplace")
        kept = {
            "file": str(self._part.path),
            "line": number,
            "reason": problem,
            "what": LINE_PROBLEMS[problem],
            "text": text[:_KEPT_CHARACTERS],
        }
        self._broken.write(msgspec.json.encode(kept) + b"\n")


def _count(batches: Sequence[pa.RecordBatch]) -> int:
    return sum(len(one) for one in batches)
