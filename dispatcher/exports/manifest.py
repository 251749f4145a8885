"""Manifest: what an export has read, what became of each line, and what it has written. Its sum closes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from dispatcher.exports.day_files import DayCounts
from dispatcher.exports.log_parts import LogPart
from dispatcher.exports.part_reading import PartResult
from dispatcher.outcomes import FORGOTTEN


class InputCounts(msgspec.Struct, kw_only=True):
    """What became of the lines of one log.

    Args:
        file: The log.
        bytes: How many of its bytes were read.
        lines: How many lines it had.
        rows: How many became rows.
        left_out: How many did not, by reason.
        broken: How many were no records, by problem.
        ended: Why it could not be read on; empty where it was read to its end.
    """

    file: str
    bytes: int = 0
    lines: int = 0
    rows: int = 0
    left_out: dict[str, int] = msgspec.field(default_factory=dict)
    broken: dict[str, int] = msgspec.field(default_factory=dict)
    ended: str = ""

    def add(self, part: LogPart, result: PartResult) -> None:
        """Add what became of one of its parts."""
        self.bytes += part.end - part.start
        self.lines += result.lines
        self.rows += result.rows
        self.left_out = dict(Counter(self.left_out) + Counter(result.left_out))
        self.broken = dict(Counter(self.broken) + Counter(result.broken))
        self.ended = self.ended or result.ended


class Manifest(msgspec.Struct, kw_only=True):
    """What one export did.

    Args:
        inputs: The logs that were read.
        earlier_bytes: Bytes of logs that were not read, since an earlier export has them.
        earlier_events: The events of these, counted where ``delivered`` is known.
        delivered: The events that the ledger has as delivered to the tracking log among these; None where nobody knows.
        days: What became of the rows of each.
        broken_lines: The file with the lines that were no records; empty where there were none.
        format: What was written.
        version: The release that wrote it.
    """

    format: str
    version: str
    inputs: list[InputCounts]
    days: list[DayCounts]
    earlier_bytes: int = 0
    earlier_events: int = 0
    delivered: int | None = None
    broken_lines: str = ""

    @property
    def lines(self) -> int:
        """Lines read."""
        return sum(one.lines for one in self.inputs)

    @property
    def added(self) -> int:
        """Rows that were not there before."""
        return sum(one.added for one in self.days)

    @property
    def duplicates(self) -> int:
        """Lines whose events were there already, or came twice."""
        return sum(one.duplicates for one in self.days)

    @property
    def events(self) -> int:
        """Events of the logs that are given, whether they were read now or before, and whether they were wanted."""
        return self.earlier_events + sum(events_of(one) for one in self.inputs)

    @property
    def left_out(self) -> dict[str, int]:
        """Lines without an event that was asked for, by reason."""
        return _sum(one.left_out for one in self.inputs)

    @property
    def broken(self) -> dict[str, int]:
        """Lines that were no records, by problem."""
        return _sum(one.broken for one in self.inputs)

    @property
    def difference(self) -> int:
        """Lines read less what became of them: 0, or a mistake of this package's."""
        accounted = self.added + self.duplicates + sum(self.left_out.values()) + sum(self.broken.values())
        return self.lines - accounted

    def to_json(self) -> str:
        """As it is kept, with its sums, for people and programs."""
        sums = {
            "lines": self.lines,
            "added": self.added,
            "duplicates": self.duplicates,
            "left_out": self.left_out,
            "broken": self.broken,
            "difference": self.difference,
        }
        body = {
            "format": self.format,
            "version": self.version,
            "sums": sums,
            "earlier_bytes": self.earlier_bytes,
            "ledger": None if self.delivered is None else {"delivered": self.delivered, "events": self.events},
            "broken_lines": self.broken_lines,
            "inputs": self.inputs,
            "days": self.days,
        }
        return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()


def events_of(counts: InputCounts | PartResult) -> int:
    """The events among the lines that were read, whether they were wanted or not."""
    return counts.rows + sum(counts.left_out.get(reason, 0) for reason in ("not_chosen", FORGOTTEN))


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))
