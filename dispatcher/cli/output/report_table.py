"""Report table: the rows of a report as text, JSON and CSV."""

from __future__ import annotations

import csv
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click
import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from dispatcher.find.report import COLUMNS, By, Report, Row
from dispatcher.secrecy.safe_text import one_line
from dispatcher.secrecy.terminal import Console

if TYPE_CHECKING:
    from dispatcher.store.counts import Counts

# Characters of a name on a terminal.
_NAME: Final = 120
# And of a line, where the terminal has fewer.
_MAX_WIDTH: Final = 240


def print_table(report: Report, by: Sequence[By], ledger: Mapping[str, Counts]) -> None:
    """Print the rows; below them the sums, and the ledger's numbers for the destinations that ``ledger`` has."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in (*by, "destination"):
        table.add_column(heading, overflow="fold")
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in report.rows:
        table.add_row(*(Text(text) for text in _heads(row, by)), *(f"{row.counts[column]:,}" for column in COLUMNS))
    table.add_section()
    blanks = [""] * (len(by) - 1)
    for name, sums in sorted(report.sums().items()):
        table.add_row("sum", *blanks, Text(name), *(f"{sums[column]:,}" for column in COLUMNS))
        if name in ledger:
            table.add_row("ledger", *blanks, Text(name), *_ledger(ledger[name]), style="dim")
    console = Console(highlight=False)
    # As wide as the numbers need it: half a number is none.
    needed = console.measure(table, options=console.options.update(max_width=_MAX_WIDTH)).maximum
    console.width = max(console.width, needed)
    console.print(table, crop=False)


def _heads(row: Row, by: Sequence[By]) -> list[str]:
    known = {"day": row.day or "not known", "name": one_line(row.name, _NAME) or "in no log here"}
    return [*(known[one] for one in by), row.destination]


def _ledger(counts: Counts) -> list[str]:
    waiting = counts.waiting - counts.posted
    numbers = (counts.accepted, counts.delivered, counts.filtered, counts.dead, counts.posted, waiting)
    return [f"{number:,}" for number in numbers]


def print_json(report: Report, by: Sequence[By]) -> None:
    """Print an object a line."""
    for row in report.rows:
        known = {"day": row.day, "name": row.name}
        shown = {one: known[one] for one in by} | {"destination": row.destination, **row.counts}
        click.echo(msgspec.json.encode(shown).decode())


def print_csv(report: Report, by: Sequence[By]) -> None:
    """Print a line for each row, below the names of the columns."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow([*by, "destination", *COLUMNS])
    for row in report.rows:
        known = {"day": row.day, "name": _plain(row.name)}
        rows.writerow([*(known[one] for one in by), row.destination, *(row.counts[column] for column in COLUMNS)])


def _plain(name: str) -> str:
    """A name that a spreadsheet does not take for a formula: names may come from pages."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name
