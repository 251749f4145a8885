"""``dispatcher dead``: look at dead letters, have them delivered again, or drop them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dispatcher import config
from dispatcher.batches import EMIT, BatchStore
from dispatcher.cli.times import MOMENT, utc
from dispatcher.dead_letters import DeadLetter, DeadLetters, Selection
from dispatcher.errors import SettingsError
from dispatcher.pace import Pace
from dispatcher.redis_pool import RedisPool

# Letters that are dropped in one step, and bytes of them.
_BATCH: Final = 100
_BATCH_BYTES: Final = 4_000_000


def _selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which letters are meant."""
    for option in (
        click.option("--until", type=MOMENT, help="Buried before this time, in UTC."),
        click.option("--since", type=MOMENT, help="Buried at this time, in UTC, or later."),
        click.option("--name", help="Only events of this name; * and ? stand for anything."),
        click.option("--reason", help="Only this reason, such as oversized."),
        click.option("--letter", "letter_ids", multiple=True, help="Only this one; may be given several times."),
        click.argument("destination"),
    ):
        command = option(command)
    return command


@click.group()
def dead() -> None:
    """Look at the events that gave up, have them delivered again, or drop them.

    \b
    Examples:
      dispatcher dead list segment
      dispatcher dead show segment 1795442400000-0
      dispatcher dead replay segment --reason oversized --since 2026-01-31 --dry-run
      dispatcher dead drop emit --reason not_encodable

    The destination "emit" has what emit itself could not take; such letters can be read, but not replayed.
    """


@dead.command("list")
@_selecting
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_letters(destination: str, limit: int, as_json: bool, **selecting: Any) -> None:
    """List dead letters, oldest first."""
    found = islice(_letters(destination).select(destination, _selection(selecting)), limit)
    if as_json:
        for letter in found:
            click.echo(json.dumps(_summary(letter)))
        return
    console = Console(highlight=False, soft_wrap=True)
    empty = True
    for letter in found:
        empty = False
        row = _summary(letter)
        head = f"{row['letter']}  {row['died'][:19]}  "
        console.print(Text.assemble(head, (row["name"], "bold"), "  ", (row["reason"], "red")))
        console.print(Text(f"    {row['error']}", style="dim"))
    if empty:
        click.echo("no dead letters")


@dead.command()
@click.argument("destination")
@click.argument("letter")
def show(destination: str, letter: str) -> None:
    """Show one dead letter whole, as JSON. Exit code 1 when there is none."""
    found = next(_letters(destination).select(destination, Selection(letter_ids=[letter])), None)
    if found is None:
        raise click.ClickException(f"{destination} has no dead letter {letter}: `dispatcher dead list {destination}`")
    event = found.event
    whole: Any = found.payload.decode("utf-8", "replace") if event is None else json.loads(found.payload)
    click.echo(json.dumps({**_summary(found), "event": whole}, indent=2, ensure_ascii=False))


@dead.command()
@_selecting
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=1000.0, show_default=True, help="Events a second."
)
@click.option("--dry-run", is_flag=True, help="Only say how many would be.")
def replay(destination: str, rate: float, dry_run: bool, **selecting: Any) -> None:
    """Have dead letters delivered again, with their own ids and times. What fails again is buried again.

    It can be interrupted and run again: a letter is either still there or on its way.

    Exit code 1 where some were gone when their turn came, because somebody else replayed or dropped them.
    """
    if destination == EMIT:
        raise click.ClickException("what emit could not take is only described, so there is nothing to replay")
    letters = _letters(destination)
    selection = _selection(selecting)
    total = sum(letter.can_be_replayed for letter in letters.select(destination, selection))
    if dry_run:
        click.echo(f"{total:,} dead letters would be replayed")
        return
    limits = config.load().destinations[destination]
    pace = Pace(rate)
    chosen = (letter for letter in letters.select(destination, selection) if letter.can_be_replayed)
    done = 0
    batches = _batches(chosen, most=pace.portion(limits.batch_events), most_bytes=limits.batch_bytes)
    for batch in _shown(batches, "replaying", total):
        pace.wait(len(batch))
        done += letters.replay(batch)
    click.echo(f"{done:,} of {total:,} dead letters are on their way; `dispatcher status` shows how they fare")
    raise SystemExit(0 if done >= total else 1)


@dead.command()
@_selecting
@click.option("--dry-run", is_flag=True, help="Only say how many would be.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(destination: str, dry_run: bool, yes: bool, **selecting: Any) -> None:
    """Delete dead letters for good. The ledger counts them as filtered from then on."""
    letters = _letters(destination)
    selection = _selection(selecting)
    total = sum(1 for _ in letters.select(destination, selection))
    if dry_run or not total:
        click.echo(f"{total:,} dead letters would be dropped")
        return
    if not yes:
        click.confirm(f"Delete {total:,} dead letters of {destination} for good?", abort=True)
    # No more than were asked about: others may have been buried meanwhile.
    chosen = islice(letters.select(destination, selection), total)
    done = sum(letters.drop(batch) for batch in _shown(_batches(chosen), "dropping", total))
    click.echo(f"{done:,} dead letters were dropped")


def _letters(destination: str) -> DeadLetters:
    settings = config.load()
    known = [*settings.destinations, EMIT]
    if destination not in known:
        raise SettingsError([f"there is no destination {destination!r}; there are {', '.join(known)}"])
    pool = RedisPool(settings.store, timeout_seconds=5)
    return DeadLetters(pool, BatchStore(pool))


def _selection(selecting: dict[str, Any]) -> Selection:
    return Selection(
        reason=selecting["reason"],
        name=selecting["name"],
        since=utc(selecting["since"]),
        until=utc(selecting["until"]),
        letter_ids=selecting["letter_ids"],
    )


def _summary(letter: DeadLetter) -> dict[str, Any]:
    event = letter.event
    return {
        "letter": letter.letter_id,
        "died": datetime.fromtimestamp(letter.died_ms / 1000, UTC).isoformat(),
        "id": None if event is None else event.id,
        "name": "?" if event is None else event.name,
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
    }


def _batches(
    letters: Iterable[DeadLetter], *, most: int = _BATCH, most_bytes: int = _BATCH_BYTES
) -> Iterator[list[DeadLetter]]:
    batch: list[DeadLetter] = []
    size = 0
    for letter in letters:
        if batch and (len(batch) >= most or size + len(letter.payload) > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += len(letter.payload)
    if batch:
        yield batch


def _shown(batches: Iterable[list[DeadLetter]], doing: str, total: int) -> Iterator[list[DeadLetter]]:
    """The batches, with a progress bar that moves when the next one is asked for."""
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=total)
        for batch in batches:
            yield batch
            progress.update(task, advance=len(batch))
