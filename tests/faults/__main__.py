"""Run the fault suite: ``python -m tests.faults``, in the checkout, with ``pip install -e '.[dev]'``.

Each case starts real processes, does its damage while events flow, repairs it, waits until everything has arrived, and
counts. It exits with 1 if an event was lost, if a line came twice, or if the ledger differs from the count.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from random import SystemRandom

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.cases import CASES
from tests.faults.report import LONG_MARKS, MARKS, as_json, line, markdown, table, write_between
from tests.faults.runner import Result, play_all


@click.command(help=__doc__)
@click.option(
    "--only", multiple=True, type=click.Choice(list(CASES)), metavar="CASE", help="Only this case. Repeatable."
)
@click.option("--list", "listing", is_flag=True, help="List the cases without playing any.")
@click.option("--seed", type=int, help="Repeat the choices of an earlier run, which printed its seed at the end.")
@click.option("--short", is_flag=True, help="Fewer strikes, and only the cases that are also tests.")
@click.option(
    "--jobs", type=click.IntRange(1), default=2, show_default=True, help="How many cases are played side by side."
)
@click.option("--events", type=click.IntRange(1000), help="How many outage_500k emits; 500,000 by default.")
@click.option("--keep", is_flag=True, help="Keep the files and logs of cases that do not hold.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write what was counted here.")
@click.option(
    "--markdown",
    "page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the table into this page, between its two marks.",
)
def main(
    only: tuple[str, ...],
    listing: bool,
    seed: int | None,
    short: bool,
    jobs: int,
    events: int | None,
    keep: bool,
    file: Path | None,
    page: Path | None,
) -> None:
    """Play, print, write."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    if listing:
        for case in CASES.values():
            console.print(f"{case.name:32}{case.title}", highlight=False)
        return
    wanted = [
        case
        for case in CASES.values()
        if (case.name in only if only else not case.is_long and (case.in_tests or not short))
    ]
    seed = SystemRandom().randrange(1 << 32) if seed is None else seed
    results: list[Result] = []
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(wanted))
        say = partial(progress.update, task)
        playing = play_all(
            wanted,
            jobs=min(jobs, len(wanted)) or 1,
            seed=seed,
            short=short,
            say=lambda text: say(description=text),
            keep=keep,
            events=events,
        )
        for result in playing:
            results.append(result)
            progress.console.print(line(result), highlight=False)
            progress.advance(task)
    order = list(CASES)
    results.sort(key=lambda result: order.index(result.case.name))
    console.print(table(results))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(as_json(results, seed=seed, short=short), indent=1) + "\n")
        console.print(f"written to {file}")
    if page is not None:
        for marks, is_long in ((MARKS, False), (LONG_MARKS, True)):
            found = [result for result in results if result.case.is_long == is_long]
            if found:
                write_between(page, markdown(found, seed=seed), marks)
        console.print(f"written into {page}")
    failed = [result.case.name for result in results if not result.account.holds]
    console.print(f"seed {seed}; " + (f"[red]did not hold: {', '.join(failed)}[/]" if failed else "all cases hold"))
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main(prog_name="python -m tests.faults")
