"""Screen: what the demo shows. It fits eighty columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.local.demo.recorded import Feed
    from dispatcher.local.demo.tally import Check, Landing
    from dispatcher.routing import Explanation

# Rows of the table of names, and errors in a file's lines, that are shown.
_MAX_NAMES = 40
_MAX_ERRORS = 5
# Characters of a step's name, and of its outcome.
_NAME = 18
_OUTCOME = 50


class Screen:
    """Shows each step while it goes on, and the results at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def title(self) -> None:
        self._console.print("\n[bold]dispatcher[/] demo: a web app emits events; here is where each one lands\n")

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Callable[[str], None]]:
        """Show a step while it goes on, then how long it took. The block calls what it gets with the outcome."""
        outcome = [doing]
        began = monotonic()
        with self._console.status(f"{name:<{_NAME}}[dim]{doing}[/]"):
            yield lambda sentence: outcome.__setitem__(0, sentence)
        self._done(name, outcome[0], monotonic() - began)

    @contextmanager
    def progress(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar that moves by one each time the block calls what it gets."""
        began = monotonic()
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("requests"))
        hidden = not self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=hidden) as bar:
            task = bar.add_task(f"{name:<{_NAME}}", total=total)
            yield lambda: bar.advance(task)
        self._done(name, f"{total:,} requests over HTTP", monotonic() - began)

    def line_errors(self, feed: Feed) -> None:
        for line in feed.errors[:_MAX_ERRORS]:
            self._console.print(Text(f"    {line}", "yellow"), no_wrap=True, overflow="ellipsis")

    def lines(self, path: Path, count: int, sample: Iterable[Mapping[str, Any]]) -> None:
        rows = [
            (str(line["time"])[11:19], line["event_type"], line["username"], str(line["session"])[:8], line["event"])
            for line in sample
        ]
        self._heading("Tracking log", f"{count:,} lines in {_relative(path)}, one visitor's here")
        self._table(("time", "event_type", "username", "session", "event"), rows)

    def messages(self, path: Path, count: int, sample: Iterable[Mapping[str, Any]]) -> None:
        rows = [
            (
                message["type"],
                message.get("event"),
                message.get("userId"),
                message.get("properties", message.get("traits")),
            )
            for message in sample
        ]
        self._heading("Segment's stand-in", f"{count:,} messages in {_relative(path)}")
        self._table(("type", "event", "userId", "properties or traits"), rows)

    def landings(self, landings: Sequence[Landing]) -> None:
        rows = [
            (landing.name, landing.emitted, landing.logged, landing.sent, _because(landing.segment))
            for landing in landings[:_MAX_NAMES]
        ]
        more = len(landings) - len(rows)
        self._heading(
            "Where each name landed", f"and {more:,} more names" if more else "dispatcher explain NAME says why"
        )
        self._table(("name", "emitted", "log", "Segment", "allowlist entry"), rows)

    def ledger(self, ledger: Mapping[str, Any]) -> None:
        columns = ("accepted", "delivered", "waiting", "dead", "filtered")
        rows = [
            (name, *(counts[column] for column in columns))
            for name, counts in ledger["destinations"].items()
            if counts["accepted"]
        ]
        self._heading("The ledger", "dispatcher status")
        self._table(("destination", "accepted =", "delivered +", "waiting +", "dead +", "filtered"), rows)

    def checks(self, checks: Iterable[Check]) -> None:
        self._heading("Does it add up?", "")
        for check in checks:
            mark = Text("  ✓ ", "green") if check.holds else Text("  ✗ ", "bold red")
            self._console.print(mark.append(check.sentence, "not bold not green" if check.holds else ""))

    def failure(self, sentence: str) -> None:
        self._console.print(Text(f"\n  ✗ {sentence}", "bold red"))

    def next_steps(self) -> None:
        program = Path(sys.executable).with_name("dispatcher")
        settings = Path(__file__).with_name("settings.toml")
        table = Table.grid(padding=(0, 2))
        table.add_row(f"{_relative(program)} up", "everything, until Ctrl-C")
        table.add_row("DEMO_STAY=1 make demo", "all of this again, and the board stays open")
        table.add_row("DEMO_EVENTS=file.jsonl make demo", "your own events, one a line")
        table.add_row(f"$EDITOR {_relative(settings)}", "the allowlists; then again")
        self._heading("What to try next", "")
        self._console.print(Padding(table, (0, 0, 1, 2)))

    def board(self, address: str) -> None:
        """Say where the board is, while everything runs."""
        # In one piece, to be copied.
        self._console.print(f"  [green]✓[/] [bold]{'The board':<{_NAME}}[/]{escape(address)}", soft_wrap=True)

    def stays(self, board: str) -> None:
        """Say that everything runs on, and where one may look."""
        self._heading("Everything runs on until Ctrl-C", "")
        where = board or "not installed: the extra board has it"
        self._console.print(Text(f"  The board: {where}\n"), soft_wrap=True)

    def _done(self, name: str, outcome: str, seconds: float) -> None:
        self._console.print(f"  [green]✓[/] [bold]{name:<{_NAME}}[/]{outcome:<{_OUTCOME}} [dim]{seconds:.1f} s[/]")

    def _heading(self, title: str, details: str) -> None:
        self._console.print(Text(f"\n  {title}", "bold").append(f"  {details}" if details else "", "not bold dim"))

    def _table(self, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for position, heading in enumerate(headings):
            numbers = bool(rows) and isinstance(rows[0][position], int)
            # If a row is wider than the screen, only the last column is cut.
            last = position == len(headings) - 1
            table.add_column(heading, justify="right" if numbers else "left", no_wrap=not last)
        for row in rows:
            table.add_row(*map(_cell, row))
        self._console.print(Padding(table, (0, 0, 0, 2)))


def _cell(value: object) -> Text:
    # As Text: names and data may hold brackets, which rich would read as markup.
    if value == 0 or value is None:
        return Text("-" if value == 0 else "", "dim")
    if isinstance(value, int):
        return Text(f"{value:,}")
    return Text(value if isinstance(value, str) else json.dumps(value), no_wrap=True, overflow="ellipsis")


def _because(segment: Explanation) -> str:
    if segment.entry is not None:
        return segment.entry
    return "Segment's own call" if segment.goes else "not on its list"


def _relative(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
