"""Account: the result of a case, in numbers of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: The ledger of one destination, by the names of its counters.
Numbers = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The end of a case. ``lost`` and ``doubled`` are what matters.

    Args:
        emitted: Events whose emit returned.
        refused: Events that emit refused with an error.
        lines: Lines in the log and its rotated files.
        due: Events that should go to the sink.
        seen: Messages that came to the sink, including repeated and refused ones.
        taken: Different messages that it took.
        again: Messages that it took more than once; Segment recognises them by their ids.
        dead: Dead letters of the sink's destination.
        arrival_seconds: From the end of the load until everything had arrived.
        problems: Everything that differs from the expectation; empty if the case holds.
        notes: Further facts for the reader.
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
