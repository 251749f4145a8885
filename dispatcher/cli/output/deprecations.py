"""Deprecations: who makes deprecated calls, as a table on the screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from dispatcher.collector.deprecations.report import Report
from dispatcher.monitoring.units import count_text, duration_text
from dispatcher.secrecy.terminal import Console

NOTHING_COUNTED: Final = "no deprecated call was counted"
_EMPTY: Final = (
    "Either nobody calls Logger.log any more, or the pages do not say so: they do where collector.logger_stage is "
    '"warn+report" or later, and they load logger.js from the collector. Calls are counted when a relay puts their '
    "events into Redis; see `dispatcher status`."
)


def print_report(report: Report, *, weeks: int, limit: int) -> None:
    """Print a row for each script, event and course, the most frequent first; and how many there are in all.

    Args:
        report: What was counted.
        weeks: Over how many weeks, this one among them.
        limit: The most rows.
    """
    console = Console(highlight=False)
    span = "this week" if weeks == 1 else f"in the last {weeks} weeks"
    if not report.callers:
        console.print(f"{NOTHING_COUNTED} {span}")
        console.print(_EMPTY, style="dim")
    else:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("event", style="bold", overflow="fold")
        table.add_column("script", overflow="fold", ratio=1)
        table.add_column("course", overflow="fold")
        table.add_column("calls", justify="right", no_wrap=True)
        table.add_column("last seen", justify="right", no_wrap=True)
        now = datetime.now(UTC)
        for caller in report.callers[:limit]:
            ago = duration_text(max(0.0, (now - caller.last_seen).total_seconds()))
            table.add_row(
                Text(caller.event), Text(caller.script or "?"), Text(caller.course), f"{caller.count:,}", f"{ago} ago"
            )
        console.print(table)
        scripts = len({caller.script for caller in report.callers})
        courses = len({caller.course for caller in report.callers if caller.course})
        console.print(
            f"{count_text(report.count, 'call')} {span}, by {count_text(scripts, 'script')}, in "
            f"{count_text(courses, 'course')}"
        )
        if len(report.callers) > limit:
            console.print(f"{len(report.callers) - limit:,} more rows; --limit shows more")
    if report.left_out:
        console.print(
            f"{count_text(report.left_out, 'more call')} had no room in the table of their week, and are counted only",
            style="yellow",
        )
