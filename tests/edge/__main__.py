"""Count the clicks that survive the end of a page: ``python -m tests.edge``; needs chromium and chromium-driver.

Each cell has so many visitors, who click in a page while something goes wrong. What arrives is counted: for ours in the
tracking log, behind the real collector, relay and worker; for a peer (``make peers``) at a sink with its protocol.
It exits with 1 if a click in a page of ours was lost, or came twice.

\b
    python -m tests.edge --client ours --cells reload,crash --runs 50
    python -m tests.edge --client posthog --json .edge/results.json --markdown docs/edge.md
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.edge.cell import CELLS, Count, again, play
from tests.edge.client import CLIENTS, Client
from tests.edge.report import MARKS, Results, add, failures, markdown, read, table, write
from tests.edge.target import open_target
from tests.faults.report import write_between
from tests.support import browser as chromium
from tests.support.browser import Browser


def _names(known: list[str]) -> click.ParamType:
    """Names with commas between them."""

    class Names(click.ParamType):
        name = "names"

        def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
            names = value.split(",")
            if unknown := [name for name in names if name not in known]:
                self.fail(f"{unknown[0]!r} is not known; these are: {', '.join(known)}", param, ctx)
            return names

    return Names()


@click.command(help=__doc__)
@click.option("--cells", type=_names(list(CELLS)), metavar="NAMES", help="Only these cells, with commas between them.")
@click.option(
    "--client", "clients", type=_names(list(CLIENTS)), metavar="NAMES", help="Only these clients, as for --cells."
)
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="How many visitors a cell has.")
@click.option("--list", "listing", is_flag=True, help="List the cells and the clients without playing any.")
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Add what was counted to this file, which keeps what it has of other cells and clients.",
)
@click.option("--render", is_flag=True, help="Play nothing: show, and write, what the file of --json has.")
@click.option(
    "--markdown",
    "page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the tables into this page, between its two marks.",
)
def main(
    cells: list[str] | None,
    clients: list[str] | None,
    runs: int,
    listing: bool,
    render: bool,
    file: Path | None,
    page: Path | None,
) -> None:
    """Play, print, write."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    if listing:
        for cell in CELLS.values():
            console.print(f"{cell.name:20}{cell.what}", highlight=False)
        for client in CLIENTS.values():
            state = client.version if client.installed else "not installed: `make peers` fetches it"
            console.print(f"{client.name:20}{state}", highlight=False)
        return
    results: Results = read(file) if file is not None else {}
    if render and not results:
        raise click.UsageError("--render needs --json with a file that has results")
    if (missing := chromium.missing()) and not render:
        raise click.ClickException(f"{missing[0]} is not installed: `apt install chromium chromium-driver` does it")
    chosen = [] if render else _installed(clients, console)
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        for client in chosen:
            _play(client, cells or list(CELLS), runs, progress, results, file)
    console.print(table(results))
    if file is not None and not render:
        console.print(f"written to {file}")
    if page is not None:
        write_between(page, markdown(results), MARKS)
        console.print(f"written into {page}")
    failed = list(failures(results))
    console.print(f"[red]did not hold: {'; '.join(failed)}[/]" if failed else "each click of ours arrived once")
    raise SystemExit(1 if failed else 0)


def _installed(names: list[str] | None, console: Console) -> list[Client]:
    """The clients that are played. One that is named must be there; others are left out with a word."""
    chosen = [CLIENTS[name] for name in names or CLIENTS]
    for client in chosen:
        if not client.installed:
            text = f"{client.name} is not installed: `make peers` fetches {client.package}"
            if names:
                raise click.ClickException(text)
            console.print(text)
    return [client for client in chosen if client.installed]


def _play(client: Client, cells: list[str], runs: int, progress: Progress, results: Results, file: Path | None) -> None:
    """Play the cells of one client with one browser. Adds each count to the results, and writes them into the file."""
    task = progress.add_task("", total=len(cells))
    counts: dict[str, Count] = {}
    with (
        TemporaryDirectory(prefix="dispatcher-edge-") as directory,
        open_target(client, Path(directory)) as target,
        Browser() as browser,
    ):
        for name in cells:
            count = counts[name] = play(
                CELLS[name],
                browser,
                target,
                runs,
                lambda text: progress.update(task, description=f"{client.name}, {text}"),
            )
            progress.console.print(
                f"{client.name:15} {CELLS[name].title:22} {count.once} of {count.clicks} once, {count.lost} lost, "
                f"{count.doubled} doubled; {count.at_once} at once; {count.seconds:.0f} s",
                highlight=False,
            )
            progress.advance(task)
            counts = {name: again(count, target) for name, count in counts.items()}
            add(results, client.name, counts, browser.version)
            if file is not None:
                write(results, file)


if __name__ == "__main__":
    main(prog_name="python -m tests.edge")
