"""Report: the results as lines and a table on the terminal, as a table in the documentation, and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from tests.faults.account import Account
from tests.faults.runner import Result

#: The lines of a page between which the table is written; the long cases have a table of their own.
MARKS: Final = ("<!-- the table of make faults begins -->", "<!-- the table of make faults ends -->")
LONG_MARKS: Final = ("<!-- the table of the outage begins -->", "<!-- the table of the outage ends -->")

_PACKAGES: Final = ("celery", "kombu", "redis")


def line(result: Result) -> str:
    """The result of one case, with its problems below."""
    account = result.account
    if result.skipped:
        return f"- {result.case.name:32}not played: {result.skipped}"
    mark = "[green]✓[/]" if account.holds else "[red]✗[/]"
    story = [f"{mark} {result.case.name:32}{escape(ledger(account))} · {result.seconds:.0f} s"]
    story += [f"    [red]{escape(problem)}[/]" for problem in account.problems]
    if result.kept is not None:
        story.append(f"    kept in {result.kept}")
    return "\n".join(story)


def ledger(account: Account) -> str:
    """The count and the ledger in one line."""
    log, sink = account.ledger.get("tracking_log", {}), account.ledger.get("segment", {})
    return (
        f"emitted {account.emitted:,} · log: {account.lines:,} lines, ledger {log.get('delivered', 0):,}, "
        f"lost {account.log_lost}, doubled {account.log_doubled} · sink: {account.taken:,} taken of {account.due:,}, "
        f"ledger {sink.get('delivered', 0):,} and {sink.get('dead', 0):,} dead, "
        f"lost {account.sink_lost}, again {account.again}"
    )


_COLUMNS: Final = (
    "case",
    "emitted",
    "lines",
    "lost",
    "doubled",
    "due",
    "seen",
    "taken",
    "dead",
    "lost ",
    "again",
    "may it",
    "arrival",
    "s",
)


def table(results: Sequence[Result]) -> Table:
    """All cases. Left of `due` it is the tracking log, right of it the sink."""
    found = Table(
        title="Log: lines, lost, doubled. Sink: due, seen, taken, dead, lost, taken again", title_justify="left"
    )
    for name in _COLUMNS:
        found.add_column(name, justify="left" if name == "case" else "right")
    found.add_column("what was done")
    for result in (result for result in results if not result.skipped):
        style = "" if result.account.holds else "red"
        found.add_row(*_cells(result), "; ".join((result.case.title, *result.account.notes)), style=style)
    return found


def markdown(results: Sequence[Result], *, seed: int) -> str:
    """The table for the documentation, with the command that makes it and what it ran on."""
    head = [
        "```sh",
        f"{_command(results)} --seed {seed}",
        "```",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
        + f"; {sum(result.account.emitted for result in results):,} events emitted.",
        "",
        "| " + " | ".join(("what was done", *(name.strip() for name in _COLUMNS[1:-1]))) + " |",
        "|---|" + "--:|" * (len(_COLUMNS) - 2),
    ]
    rows = [f"| {' | '.join((_story(result), *_cells(result)[1:-1]))} |" for result in results if not result.skipped]
    return "\n".join([*head, *rows])


def write_between(page: Path, text: str, marks: tuple[str, str] = MARKS) -> None:
    """Replace what is between two marks of a page.

    Raises:
        ValueError: The page has not both of them, in order.
    """
    begin, end = marks
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} needs the lines {begin!r} and {end!r}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def as_json(results: Sequence[Result], *, seed: int, short: bool) -> dict[str, Any]:
    """Everything about the run."""
    return {
        "run": {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "short": short,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "packages": {name: version(name) for name in ("event-dispatcher", *_PACKAGES)},
        },
        "cases": [
            {
                "name": result.case.name,
                "title": result.case.title,
                "skipped": result.skipped,
                "holds": result.account.holds,
                "seconds": round(result.seconds, 1),
                **asdict(result.account),
            }
            for result in results
        ],
    }


def _cells(result: Result) -> list[str]:
    account = result.account
    numbers = (
        account.emitted,
        account.lines,
        account.log_lost,
        account.log_doubled,
        account.due,
        account.seen,
        account.taken,
        account.dead,
        account.sink_lost,
        account.again,
    )
    may = "yes" if result.case.expected.repeats else "no"
    return [
        result.case.name,
        *(f"{number:,}" for number in numbers),
        may,
        f"{account.arrival_seconds:.0f} s",
        f"{result.seconds:.0f}",
    ]


def _story(result: Result) -> str:
    notes = "; ".join(result.account.notes)
    return f"{result.case.title}{f' ({notes})' if notes else ''}"


def _command(results: Sequence[Result]) -> str:
    if len(results) == 1:
        return f"python -m tests.faults --only {results[0].case.name}"
    return "python -m tests.faults"
