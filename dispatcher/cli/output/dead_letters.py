"""Dead letters: a list of them, each as JSON, and the progress of what is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from datetime import UTC, datetime
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dispatcher.secrecy.terminal import Console
from dispatcher.store.dead_letter import DeadLetter

Batch = TypeVar("Batch", bound=Sized)


def summary(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter without its event, for ``json.dumps``."""
    event = letter.event
    return {
        "dead_letter": letter.id,
        "destination": letter.destination,
        "died": datetime.fromtimestamp(letter.died_ms / 1000, UTC).isoformat(),
        "id": None if event is None else event.id,
        "name": "?" if event is None else event.name,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
    }


def print_list(letters: Iterable[DeadLetter], *, with_destination: bool = False) -> None:
    """Print two lines for each: its id, time, destination if wanted, event and reason; and the last error."""
    console = Console(highlight=False, soft_wrap=True)
    row = None
    for row in map(summary, letters):
        # As Text everywhere: brackets in a name would otherwise be taken for markup.
        head = f"{row['dead_letter']}  {row['died'][:19]}  " + (f"{row['destination']}  " if with_destination else "")
        console.print(Text.assemble(head, (row["name"], "bold"), "  ", (row["reason"], "red")))
        console.print(Text(f"    {row['error']}", style="dim"))
    if row is None:
        console.print("no dead letters")


def with_progress(batches: Iterable[Batch], doing: str, total: int) -> Iterator[Batch]:
    """The batches, with a progress bar that advances by a batch when the next one is asked for."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=total)
        for batch in batches:
            yield batch
            progress.update(task, advance=len(batch))
