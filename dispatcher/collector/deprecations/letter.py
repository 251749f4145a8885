"""Letter: what a course team is told, with what its own pages call. Text that a person reads before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dispatcher.collector.deprecations.report import Caller

# Rows that a letter has; a team that sees these knows what to look for.
_MAX_ROWS: Final = 25

_TEXT: Final = """\
Subject: Logger.log in {course}: please replace it {until}

Dear course team,

pages of your course record what learners do with Logger.log (or log_event, its older name). That call is deprecated
and will be removed {removal}. From then on, what your scripts record with it is lost.
Your course itself, its content and its grades are not affected.

This is what your course called in the last {weeks} weeks:

{rows}

What to do: replace the call. The name of the event and what you record stay the same.

    Logger.log("name", {{answer: 42}});      is now      Tracker.emit("name", {{answer: 42}});

Where the address above is that of one of your pages, the call is in the page itself: open it in Studio, edit the HTML
component or the problem, and look for "Logger.log" and "log_event". Where it is a file, replace it under Content >
Files. If you exported your course, one command does it in all files, and first shows what it would change:

    dispatcher deprecations codemod path/to/your/course

If a script came from somebody else, please forward this letter. {questions}

Thank you,
{sender}
"""


def write_letter(course: str, callers: Sequence[Caller], *, weeks: int, until: str, sender: str, help_url: str) -> str:
    """The letter to the team of one course. Pure.

    Args:
        course: The key of the course.
        callers: What calls in it, the most frequent first; at least one.
        weeks: Over how many weeks that was counted.
        until: When the call is removed, in words, such as ``with the release Willow``; empty where nobody knows yet.
        sender: Who signs.
        help_url: The page with all that changes; empty where there is none that they can reach.
    """
    rows: list[str] = []
    for caller in callers[:_MAX_ROWS]:
        times = "once" if caller.count == 1 else f"{caller.count:,} times"
        rows += (
            f'  * {caller.call}("{caller.event}"): {times}, the last on {caller.last_seen:%Y-%m-%d}',
            f"    in {caller.script or 'a script whose address the browser did not say'}",
        )
    if len(callers) > _MAX_ROWS:
        rest = callers[_MAX_ROWS:]
        rows.append(f"  * and {len(rest):,} more, {sum(caller.count for caller in rest):,} times")
    return _TEXT.format(
        course=course,
        until=f"before it is removed {until}" if until else "soon",
        removal=until or "in a later release, which we will tell you",
        weeks=weeks,
        rows="\n".join(rows),
        questions=f"All that changes, and questions that others had:\n{help_url}"
        if help_url
        else "Ask us what you like.",
        sender=sender,
    )
