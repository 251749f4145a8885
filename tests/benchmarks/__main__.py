"""Run the benchmarks: ``python -m tests.benchmarks``, in the checkout, with ``pip install -e '.[dev,bench]'``.

Ours and the peers take turns in the same run, each in its own process with its own Redis. Ratios mean more than times,
which depend on the machine. Nothing is asserted.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.benchmarks import child, end_to_end, idle, latency, memory, outage, paced, redis_bytes
from tests.benchmarks.emitters import TITLES
from tests.benchmarks.report import as_json, tables
from tests.benchmarks.step import QUICK, Plan, Step
from tests.benchmarks.summary import Row, summarise
from tests.benchmarks.targets import targets

MEASUREMENTS: Final[dict[str, Callable[[Plan], Iterator[Step]]]] = {
    "idle": idle.steps,
    "paced": paced.steps,
    "outage": outage.steps,
    "end_to_end": end_to_end.steps,
    "latency": latency.steps,
    "memory": memory.steps,
    "redis_bytes": redis_bytes.steps,
}
_EMIT: Final = ("idle", "paced")
_LONG: Final = frozenset({"end_to_end", "latency", "memory", "redis_bytes", "outage"})


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="One short round of each, to check that it runs: the numbers mean little.")
@click.option(
    "--only", multiple=True, type=click.Choice(["emit", *MEASUREMENTS]), help="emit: idle and paced. Repeatable."
)
@click.option("--rounds", type=click.IntRange(1), help="Rounds of everything.")
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".bench/results.json"),
    show_default=True,
    help="Where the results go, with those of each round.",
)
def main(quick: bool, only: tuple[str, ...], rounds: int | None, file: Path) -> None:
    """Measure, print, write."""
    plan = QUICK if quick else Plan()
    wanted = [name for name in MEASUREMENTS if not only or name in only or ("emit" in only and name in _EMIT)]
    turns = [
        (step, number)
        for name in wanted
        for number in range(rounds or (plan.long_rounds if name in _LONG else plan.rounds))
        for step in MEASUREMENTS[name](plan)
    ]
    rows = _run(turns)
    found = targets(rows)
    console = Console()
    # Wide enough for the tables if the output is a file.
    tables(console if console.is_terminal else Console(width=180), rows, found)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(as_json(rows, found, quick=quick), indent=1) + "\n")
    console.print(f"written to {file}")


def _run(turns: list[tuple[Step, int]]) -> list[Row]:
    results: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(turns))
        for step, number in turns:
            what = f"{step.measurement}: {TITLES[step.subject]}, {step.case}"
            progress.update(task, description=f"round {number + 1}, {what}")
            result = child.run(
                step.measure, timeout_seconds=step.timeout_seconds, environ=step.environ, arguments=step.arguments
            )
            results[step.measurement, step.subject, step.case].append(result)
            progress.advance(task)
    return [summarise(*key, rounds) for key, rounds in results.items()]


if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
