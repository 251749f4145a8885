"""Run the benchmarks: ``python -m tests.benchmarks [ROW]…``, in the checkout, with ``pip install -e '.[dev,bench]'``.

Ours and the peers take turns in the same run, each in its own process with its own Redis. Ratios mean more than times,
which depend on the machine. Nothing is asserted.

All rows are measured once first, then again for as long as there is time: on two quiet processors the first round takes
some 15 minutes, and all rounds some 40. A row that fails is said to have failed, and the others are measured.

\b
Examples:
  python -m tests.benchmarks                              all rows, in 15 minutes, as `make bench`
  python -m tests.benchmarks --minutes 45                 all rounds of all rows
  python -m tests.benchmarks crowd rest                   some rows
  python -m tests.benchmarks emit --rounds 7              what a call takes: idle and paced
  python -m tests.benchmarks rest --subject ours --case "100 processes"
  python -m tests.benchmarks segment --beside ~/before    ours of this checkout and of another one, by turns
  python -m tests.benchmarks --from .bench/results.json --markdown docs/performance.md
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks import child
from tests.benchmarks.beside import HERE, other_checkout
from tests.benchmarks.emitters import TITLES
from tests.benchmarks.markdown import fill
from tests.benchmarks.measurements import GROUPS, MEASUREMENTS
from tests.benchmarks.report import as_json, tables
from tests.benchmarks.step import QUICK, Plan, Step
from tests.benchmarks.summary import Row, summarise
from tests.benchmarks.targets import targets

_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command(help=__doc__)
@click.argument("rows", nargs=-1, metavar="[ROW]...", type=click.Choice([*MEASUREMENTS, *GROUPS]))
@click.option("--quick", is_flag=True, help="One short round of each, to check that it runs: the numbers mean little.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds of everything.")
@click.option(
    "--minutes",
    type=click.FloatRange(0.1),
    default=15,
    show_default=True,
    help="Begin nothing that is not done by then, and end what is not. The rows that are left out are named.",
)
@click.option(
    "--seconds", type=click.FloatRange(0.5), help="How long whole sites run, and calls at a rate, and light load."
)
@click.option(
    "--beside",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Another checkout with a .venv, such as one of the commit before: its code takes turns with this one's.",
)
@click.option(
    "--subject", "subjects", multiple=True, type=click.Choice(list(TITLES)), help="These subjects only. Repeatable."
)
@click.option("--case", "cases", multiple=True, help="Cases whose names have this in them only. Repeatable.")
@click.option(
    "--json",
    "file",
    type=_FILE,
    default=Path(".bench/results.json"),
    show_default=True,
    help="Where the results go, with those of each round.",
)
@click.option(
    "--from",
    "earlier",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: show the results of this file. Repeatable: a later one wins where both have a case.",
)
@click.option("--markdown", type=_FILE, help="Fill in the tables of this page that are marked with names of rows.")
def main(
    rows: tuple[str, ...],
    quick: bool,
    rounds: int | None,
    minutes: float,
    seconds: float | None,
    beside: Path | None,
    subjects: tuple[str, ...],
    cases: tuple[str, ...],
    file: Path,
    earlier: tuple[Path, ...],
    markdown: Path | None,
) -> None:
    """Measure, print, write."""
    console = Console()
    if not console.is_terminal:
        # Wide enough for the tables if the output is a file.
        console = Console(width=200)
    wanted = [name for row in rows or MEASUREMENTS for name in GROUPS.get(row, (row,))]
    if earlier:
        by_key: dict[tuple[str, str, str], Row] = {}
        for path in earlier:
            results = json.loads(path.read_text())
            read = (Row(**row) for row in results["rows"])
            by_key |= {(row.measurement, row.subject, row.case): row for row in read if row.measurement in wanted}
        found = [row for row in by_key.values() if not subjects or row.subject in subjects]
    else:
        plan = QUICK if quick else Plan()
        if seconds is not None:
            plan = replace(
                plan,
                crowd_seconds=seconds,
                rest_seconds=seconds,
                paced_seconds=seconds,
                outage_seconds=seconds,
                latency_events=max(1, round(seconds * plan.latency_rate)),
            )
        turns = [
            (step, number)
            for name in dict.fromkeys(wanted)
            for number in range(rounds or getattr(plan, MEASUREMENTS[name].rounds))
            for step in MEASUREMENTS[name].steps(plan)
            if (not subjects or step.subject in subjects) and (not cases or any(case in step.case for case in cases))
        ]
        turns.sort(key=lambda turn: turn[1])

        def write(rows: list[Row]) -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(as_json(rows, targets(rows), quick=quick), indent=1) + "\n")

        found = _run(turns, beside, time.monotonic() + minutes * 60, write)
    reached = targets(found)
    tables(console, found, reached)
    if not earlier:
        write(found)
        results = json.loads(file.read_text())
        console.print(f"written to {file}")
    if markdown is not None:
        filled = fill(markdown, found, reached, results["run"])
        console.print(f"filled in {markdown}: {', '.join(filled) or 'it has no marks for these rows'}")


def _run(
    turns: list[tuple[Step, int]], beside: Path | None, deadline: float, write: Callable[[list[Row]], None]
) -> list[Row]:
    """Measure step after step until the deadline; ``write`` gets all rows so far after each."""
    results: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    took: dict[tuple[str, str, str], float] = {}
    left_out: dict[str, None] = {}
    rows: list[Row] = []
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress, other_checkout(beside) as other:
        task = progress.add_task("", total=len(turns))
        for step, number in turns:
            what = f"round {number + 1}, {step.measurement}: {TITLES[step.subject]}, {step.case}"
            progress.update(task, description=what)
            key = (step.measurement, step.subject, step.case)
            began = time.monotonic()
            if began + took.get(key, 0.0) < deadline:
                checkouts = {step.subject: HERE}
                if other is not None and step.subject == "ours":
                    checkouts["before"] = other
                for subject, checkout in checkouts.items():
                    seconds = max(1.0, min(step.timeout_seconds, deadline - time.monotonic()))
                    result = child.run(replace(step, timeout_seconds=seconds), checkout=checkout)
                    # A later round that fails or is ended takes nothing from those before it.
                    if "failed" not in result or not results[step.measurement, subject, step.case]:
                        results[step.measurement, subject, step.case].append(result)
                    if "failed" in result:
                        progress.console.print(f"{what}: {result['failed']}", markup=False)
                took[key] = time.monotonic() - began
                if not progress.console.is_terminal:
                    progress.console.print(f"{what}: {took[key]:.0f} s", markup=False)
                rows = [summarise(*each, rounds) for each, rounds in results.items()]
                write(rows)
            elif key not in took:
                left_out[f"{step.measurement}: {TITLES[step.subject]}, {step.case}"] = None
            progress.advance(task)
        for one in left_out:
            progress.console.print(f"not measured, for lack of time: {one}", markup=False)
    return rows


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
