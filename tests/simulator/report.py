"""Report: what came of many histories as a table on the terminal, in the documentation, and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from rich.table import Table

from tests.simulator.plan import KINDS
from tests.simulator.run import Group, Totals

#: Between these two lines of a page the table stands.
MARKS: Final = ("<!-- the table of the simulator begins -->", "<!-- the table of the simulator ends -->")

_COLUMNS: Final = ("histories with", "histories", "played", "emitted", "refused", "failed", "doubled", "again")


def table(totals: Totals) -> Table:
    """A line for each kind of action, and one for everything."""
    found = Table(title="Histories by what happened in them", title_justify="left")
    for name in _COLUMNS:
        found.add_column(name, justify="left" if name == _COLUMNS[0] else "right")
    for name, group in _rows(totals):
        found.add_row(*_cells(name, group), style="red" if group.failed else "")
    return found


def markdown(totals: Totals, *, seeds: range, troubles: Sequence[str]) -> str:
    """The table for the documentation, with the command that makes it and what it ran on."""
    only = "".join(f' --only "{kind}"' for kind in troubles)
    head = [
        "```sh",
        f"python -m tests.simulator --seeds {len(seeds)} --start {seeds.start}{only}",
        "```",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"redis {version('redis')}.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "|---|" + "--:|" * (len(_COLUMNS) - 1),
    ]
    rows = ["| " + " | ".join(_cells(name, group)) + " |" for name, group in _rows(totals)]
    permitted = [f"- {n:,} of {reason}" for reason, n in totals.permitted.most_common()]
    return "\n".join(
        [*head, *rows, *(["", "Events lost or doubled where that is permitted:", ""] if permitted else [])]
    ) + ("\n" + "\n".join(permitted) if permitted else "")


def as_json(totals: Totals, *, seeds: range, troubles: Sequence[str]) -> dict[str, Any]:
    """Everything that is known of the run."""
    return {
        "run": {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "start": seeds.start,
            "seeds": len(seeds),
            "troubles": list(troubles),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in ("event-dispatcher", "redis")},
        },
        **asdict(totals),
    }


def _rows(totals: Totals) -> list[tuple[str, Group]]:
    rows = [(kind, totals.by_action[kind]) for kind in KINDS if kind in totals.by_action]
    return [*rows, ("anything", totals.everything)]


def _cells(name: str, group: Group) -> list[str]:
    numbers = (
        group.histories,
        group.played,
        group.emitted,
        group.refused,
        group.failed,
        group.log_doubled,
        group.again,
    )
    return [name, *(f"{number:,}" for number in numbers)]
