"""Report: which scripts still make deprecated calls, with which events, in which courses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from dispatcher.store.deprecated_calls import DeprecatedCall


@dataclass(slots=True, kw_only=True)
class Caller:
    """One script with one event in one course, over all weeks of a report.

    Args:
        call: What it calls, such as ``Logger.log``.
        event: The name of the event.
        script: The URL of the script without its query; that of the page where the call stands in the page itself.
        course: The key of the course; empty outside of courses.
        count: How often it called.
        last_seen: When it was counted last.
        by_week: How often, by the Monday of each week in which it called.
    """

    call: str
    event: str
    script: str
    course: str
    count: int
    last_seen: datetime
    by_week: dict[date, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All of it, for ``json.dumps``."""
        return {
            "call": self.call,
            "event": self.event,
            "script": self.script,
            "course": self.course,
            "count": self.count,
            "last_seen": self.last_seen.isoformat(timespec="seconds"),
            "by_week": {week.isoformat(): count for week, count in sorted(self.by_week.items())},
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What was counted over some weeks.

    Args:
        callers: Those who called, the most frequent first.
        left_out: Calls for whose event, script and course a week had no room; of any course.
    """

    callers: tuple[Caller, ...]
    left_out: int

    @property
    def count(self) -> int:
        """How often they called, all together."""
        return sum(caller.count for caller in self.callers)


def make_report(counted: Sequence[DeprecatedCall], course: str | None = None) -> Report:
    """Sum up what was counted, over the weeks. Pure.

    Args:
        counted: As the store has it, week by week.
        course: Only this course, by its key; empty: only what is outside of courses; None: all.
    """
    callers: dict[tuple[str, str, str, str], Caller] = {}
    left_out = 0
    for one in counted:
        if not one.call:
            left_out += one.count
            continue
        if course is not None and one.course != course:
            continue
        key = (one.call, one.event, one.script, one.course)
        caller = callers.get(key)
        if caller is None:
            caller = callers[key] = Caller(
                call=one.call, event=one.event, script=one.script, course=one.course, count=0, last_seen=one.last_seen
            )
        caller.count += one.count
        caller.last_seen = max(caller.last_seen, one.last_seen)
        caller.by_week[one.week] = caller.by_week.get(one.week, 0) + one.count
    ordered = sorted(callers.values(), key=lambda one: (-one.count, one.event, one.script, one.course))
    return Report(tuple(ordered), left_out)
