"""Screen: what the demo shows. It fits eighty columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.demo.recorded import Feed
    from dispatcher.demo.tally import Check, Landing
    from dispatcher.routing import Explanation

# Rows of the table of names, and complaints about a file's lines.
_MOST_NAMES = 40
_MOST_COMPLAINTS = 5
_STEP_COLUMNS = 18


class Screen:
    """Says what happens, as it happens, and shows what came of it."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def title(self) -> None:
        self._console.print("\n[bold]dispatcher[/] demo: a web app emits events; here is where each one lands\n")

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Callable[[str], None]]:
        """Show a step while it goes on, and how long it took; what it calls with is its outcome."""
        outcome = [doing]
        began = monotonic()
        with self._console.status(f"{name:<{_STEP_COLUMNS}}[dim]{doing}[/]"):
            yield lambda sentence: outcome.__setitem__(0, sentence)
        self._done(name, outcome[0], monotonic() - began)

    @contextmanager
    def progress(self, name: str, total: int) -> Iterator[Callable[[], None]]:
        """Show a bar that moves by one at each call."""
        began = monotonic()
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("requests"))
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(f"{name:<{_STEP_COLUMNS}}", total=total)
            yield lambda: bar.advance(task)
        self._done(name, f"{total:,} requests over HTTP", monotonic() - began)

    def complaints(self, feed: Feed) -> None:
        for line in feed.complaints[:_MOST_COMPLAINTS]:
            self._console.print(Text(f"    {line}", style="yellow"))

    def lines(self, path: Path, count: int, sample: Iterable[Mapping[str, Any]]) -> None:
        self._heading("Tracking log", path, f"{count:,} lines; one visitor's")
        table = _table("time", "event_type", "username", "session", "event")
        for line in sample:
            moment, session = str(line["time"])[11:19], str(line["session"])[:8]
            table.add_row(*map(_text, (moment, line["event_type"], line["username"], session, _short(line["event"]))))
        self._console.print(table)

    def messages(self, path: Path, count: int, sample: Iterable[Mapping[str, Any]]) -> None:
        self._heading("Segment, its local stand-in", path, f"{count:,} messages; the same visitor's")
        table = _table("type", "event", "userId", "properties or traits")
        for message in sample:
            details = message.get("properties", message.get("traits"))
            row = (message["type"], message.get("event", ""), message.get("userId", ""), _short(details))
            table.add_row(*map(_text, row))
        self._console.print(table)

    def landings(self, landings: Sequence[Landing]) -> None:
        self._console.print("  [bold]Where each name landed[/]")
        table = _table("name", "emitted", "log", "Segment", "because, for Segment", numbers=(1, 2, 3))
        for landing in landings[:_MOST_NAMES]:
            counts = (landing.emitted, landing.logged, landing.sent)
            because = Text(_because(landing.segment), style="" if landing.segment.goes else "dim")
            table.add_row(_text(landing.name), *(Text(f"{n:,}") if n else Text("-", "dim") for n in counts), because)
        self._console.print(table)
        if len(landings) > _MOST_NAMES:
            self._console.print(f"  … and {len(landings) - _MOST_NAMES:,} more names\n")

    def checks(self, checks: Iterable[Check]) -> None:
        self._console.print("  [bold]Does it add up?[/]\n")
        for check in checks:
            self.check(check)

    def check(self, check: Check) -> None:
        mark = Text("  ✓ ", "green") if check.holds else Text("  ✗ ", "bold red")
        self._console.print(mark.append(check.sentence, "" if check.holds else "bold red"))

    def failure(self, sentence: str) -> None:
        self._console.print(Text(f"\n  ✗ {sentence}", "bold red"))

    def next_steps(self) -> None:
        program = Path(sys.executable).with_name("dispatcher")
        settings = Path(__file__).with_name("settings.toml")
        table = Table.grid(padding=(0, 3))
        table.add_row(f"  {_here(program)} up", "everything, with a dashboard, until Ctrl-C")
        table.add_row("  DEMO_EVENTS=events.jsonl make demo", "your own events, one JSON object a line")
        table.add_row(f"  edit {_here(settings)}", "change the allowlist, then make demo")
        self._console.print("\n  [bold]What to try next[/]\n", table, "")

    def _done(self, name: str, outcome: str, seconds: float) -> None:
        self._console.print(f"  [green]✓[/] [bold]{name:<{_STEP_COLUMNS}}[/]{outcome} [dim]{seconds:.1f} s[/]")

    def _heading(self, title: str, path: Path, what: str) -> None:
        self._console.print(Text(f"\n  {title}", "bold").append(f"  {_here(path)}: {what}", "not bold dim"))


def _table(*headings: str, numbers: Sequence[int] = ()) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=True, header_style="dim")
    for position, heading in enumerate(headings):
        last = position == len(headings) - 1
        table.add_column(
            heading,
            justify="right" if position in numbers else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if last else None,
        )
    return table


def _text(value: object) -> Text:
    # Text, since names and data may hold brackets, which would be read as markup.
    return Text("" if value is None else str(value))


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _because(segment: Explanation) -> str:
    if segment.goes:
        return segment.sentence if segment.entry is None else f"allowlist: {segment.entry}"
    if segment.reason == "not_on_allowlist":
        return "not on the allowlist"
    return segment.sentence if segment.entry is None else f"exception: {segment.entry}"


def _here(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
