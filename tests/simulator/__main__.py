"""Run the simulator: ``python -m tests.simulator``, in the checkout, with ``pip install -e '.[dev]'``.

Each seed is a random history of outboxes, relays, Redis and workers, at whose end every event that emit accepted must
have arrived. It exits with 1 if anything was lost, doubled or left behind; the seed plays the same history again.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.faults.report import write_between
from tests.simulator.ground import Ground
from tests.simulator.history import History, play_seed
from tests.simulator.minimise import minimise
from tests.simulator.plan import TROUBLES
from tests.simulator.report import MARKS, as_json, markdown, table
from tests.simulator.run import Totals, run


@click.command(help=__doc__)
@click.option("--seed", type=int, help="Play only this one, and print its story.")
@click.option("--keep", help="With --seed: only these of its actions, as 3,7,12.")
@click.option("--verbose", is_flag=True, help="With --seed: print the story even if it holds, and do not shorten it.")
@click.option("--seeds", type=click.IntRange(1), default=1000, show_default=True, help="How many to play.")
@click.option("--start", type=int, default=0, show_default=True, help="The first of them.")
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="How many play at a time.")
@click.option("--only", multiple=True, type=click.Choice(TROUBLES), help="Only this trouble. Repeatable.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write what was counted here.")
@click.option(
    "--markdown",
    "page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the table into this page, between its two marks.",
)
def main(
    seed: int | None,
    keep: str | None,
    verbose: bool,
    seeds: int,
    start: int,
    processes: int,
    only: tuple[str, ...],
    file: Path | None,
    page: Path | None,
) -> None:
    """Play, print, write."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    if seed is not None:
        kept = [int(one) for one in keep.split(",")] if keep else None
        raise SystemExit(0 if _play_one(console, seed, only, kept, verbose=verbose) else 1)
    totals = _play(console, range(start, start + seeds), only, processes)
    console.print(table(totals))
    for reason, n in totals.permitted.most_common():
        console.print(f"permitted: {n:,} of {reason}", highlight=False)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(as_json(totals, seeds=range(start, start + seeds), troubles=only), indent=1) + "\n")
        console.print(f"written to {file}")
    if page is not None:
        write_between(page, markdown(totals, seeds=range(start, start + seeds), troubles=only), MARKS)
        console.print(f"written into {page}")
    for failing, problems in list(totals.failures.items())[:10]:
        console.print(f"seed {failing}: {'; '.join(problems)}", highlight=False, markup=False)
    kinds = ", ".join(f"{kind} in {n}" for kind, n in totals.kinds.most_common())
    console.print(
        f"[red]{totals.everything.failed} of {seeds} do not hold: {kinds}; see one with --seed[/]"
        if totals.failures
        else f"all {seeds} hold"
    )
    raise SystemExit(1 if totals.failures else 0)


def _play(console: Console, seeds: range, only: tuple[str, ...], processes: int) -> Totals:
    columns = (
        BarColumn(40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(seeds))

        def on_progress(played: int, totals: Totals) -> None:
            progress.update(task, advance=played, description=f"{totals.everything.failed} do not hold")

        return run(seeds, troubles=only, processes=processes, on_progress=on_progress)


def _play_one(console: Console, seed: int, only: tuple[str, ...], kept: list[int] | None, *, verbose: bool) -> bool:
    with Ground() as ground:
        history = play_seed(ground, seed, troubles=only, kept=kept, is_told=True)
        if not history.result.holds and not verbose:
            history = minimise(ground, history)
    if verbose or not history.result.holds:
        console.print("\n".join(history.story), highlight=False, markup=False, soft_wrap=True)
    console.print(summary(history), highlight=False, markup=False, soft_wrap=True)
    return history.result.holds


def summary(history: History) -> str:
    """The result of one history, and the command that plays it again."""
    result = history.result
    if result.holds:
        return f"seed {history.seed} holds: {result.emitted} emitted, {result.refused} refused"
    only = "".join(f' --only "{kind}"' for kind in history.troubles)
    keep = ",".join(map(str, history.kept))
    again = f"python -m tests.simulator --seed {history.seed}{only} --keep {keep} --verbose"
    return "\n".join([f"seed {history.seed} does not hold:", *(f"  {one}" for one in result.problems), again])


if __name__ == "__main__":
    main(prog_name="python -m tests.simulator")
