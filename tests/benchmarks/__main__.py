"""Run the benchmarks: ``python -m tests.benchmarks [ROW]…``, in the checkout, with ``pip install -e '.[dev,bench]'``.

Ours and the peers take turns in the same run, each in its own process with its own Redis. Ratios mean more than times,
which depend on the machine. Nothing is asserted.

\b
Examples:
  python -m tests.benchmarks                              all rows, once, as `make bench`
  python -m tests.benchmarks crowd rest                   some rows
  python -m tests.benchmarks emit --rounds 7              what a call takes: idle and paced
  python -m tests.benchmarks rest --subject ours --case "100 processes"
  python -m tests.benchmarks segment --beside ~/before    ours of this checkout and of another one, by turns
  python -m tests.benchmarks --from .bench/results.json --markdown docs/performance.md
"""

from __future__ import annotations

import json
from collections import defaultdict
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
@click.option("--seconds", type=click.FloatRange(0.5), help="How long whole sites run: crowd, rest, growth.")
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
            plan = replace(plan, crowd_seconds=seconds, rest_seconds=seconds)
        turns = [
            (step, number)
            for name in dict.fromkeys(wanted)
            for number in range(rounds or getattr(plan, MEASUREMENTS[name].rounds))
            for step in MEASUREMENTS[name].steps(plan)
            if (not subjects or step.subject in subjects) and (not cases or any(case in step.case for case in cases))
        ]
        found = _run(turns, beside)
    reached = targets(found)
    tables(console, found, reached)
    if not earlier:
        results = as_json(found, reached, quick=quick)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
        console.print(f"written to {file}")
    if markdown is not None:
        filled = fill(markdown, found, reached, results["run"])
        console.print(f"filled in {markdown}: {', '.join(filled) or 'it has no marks for these rows'}")


def _run(turns: list[tuple[Step, int]], beside: Path | None) -> list[Row]:
    results: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress, other_checkout(beside) as other:
        task = progress.add_task("", total=len(turns))
        for step, number in turns:
            what = f"{step.measurement}: {TITLES[step.subject]}, {step.case}"
            progress.update(task, description=f"round {number + 1}, {what}")
            checkouts = {step.subject: HERE}
            if other is not None and step.subject == "ours":
                checkouts["before"] = other
            for subject, checkout in checkouts.items():
                results[step.measurement, subject, step.case].append(child.run(step, checkout=checkout))
            progress.advance(task)
    return [summarise(*key, rounds) for key, rounds in results.items()]


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
