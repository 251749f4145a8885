"""Account: how a case ended, in events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: What the ledger says of one destination, by the names of its counters.
Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The end of a case. ``lost`` and ``doubled`` are what it is all about.

    Args:
        emitted: What emit returned for.
        refused: What emit refused, and said so.
        lines: Lines in the log and its rotated files.
        due: What was to go to the sink.
        seen: Messages that came to the sink, with those that it did not take and those that came again.
        taken: Different messages that it took.
        again: Messages that it took once more: Segment tells them by their ids.
        dead: Dead letters of the sink's destination.
        arrival_seconds: From the end of the load until all was there.
        problems: All that should not be; empty where the case holds.
        notes: What a reader wants to know besides.
    """

    emitted: int = 0
    refused: int = 0
    lines: int = 0
    log_lost: int = 0
    log_doubled: int = 0
    due: int = 0
    seen: int = 0
    taken: int = 0
    dead: int = 0
    sink_lost: int = 0
    again: int = 0
    arrival_seconds: float = 0.0
    ledger: dict[str, Numbers] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.problems
