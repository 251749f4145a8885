"""Run ``python -m tests.vendors``: every destination at once, and the outcome of each event at each."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.vendors.play import play


@click.command(help=__doc__)
@click.option("--events", type=click.IntRange(100), default=100_000, show_default=True, help="How many to emit.")
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Worker processes.")
@click.option("--patience", type=float, default=1800.0, show_default=True, help="Seconds until it is given up.")
def main(events: int, workers: int, patience: float) -> None:
    """Play, and print a table."""
    console = Console(width=None if Console().is_terminal else 140)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dispatcher-vendors-") as directory, console.status("starting") as status:
        found = play(Path(directory), events=events, workers=workers, say=status.update, patience=patience)
    table = Table(title=f"{events:,} events, one in 100 bad, {time.monotonic() - began:,.0f} s")
    for column in ("destination", "accepted", "delivered", "dead", "by reason", "taken", "taken again", "holds"):
        table.add_column(column, justify="left" if column in {"destination", "by reason", "holds"} else "right")
    for name, one in found.items():
        counts = one.counts
        table.add_row(
            name,
            *(f"{number:,}" for number in (counts.accepted, counts.delivered, counts.dead)),
            ", ".join(f"{reason} {number:,}" for reason, number in counts.dead_by_reason.items()),
            f"{len(one.taken):,}",
            f"{sum(one.taken.values()) - len(one.taken):,}",
            "[red]" + "; ".join(one.problems) if one.problems else "[green]yes",
        )
    console.print(table)
    raise SystemExit(1 if any(one.problems for one in found.values()) else 0)


if __name__ == "__main__":
    main(prog_name="python -m tests.vendors")
