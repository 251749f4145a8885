"""``dispatcher dead``: look at dead letters, have them delivered again, or drop them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from dispatcher import config
from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import SettingsError
from dispatcher.replay.throttle import Throttle
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_letter_files import directory_of, read
from dispatcher.store.dead_letters import DeadLetter, DeadLetterFilter, DeadLetters

# Letters that are dropped in one step, and bytes of them.
_BATCH: Final = 100
_BATCH_BYTES: Final = 4_000_000


def _selecting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which letters are meant."""
    for option in (
        click.option("--until", type=TIMESTAMP, help="Buried before this time, in UTC."),
        click.option("--since", type=TIMESTAMP, help="Buried at this time, in UTC, or later."),
        click.option("--name", help="Only events of this name; * and ? stand for anything."),
        click.option("--reason", help="Only this reason, such as oversized."),
        click.option("--letter", "letter_ids", multiple=True, help="Only this one; may be given several times."),
        click.argument("destination"),
    ):
        command = option(command)
    return command


_FROM_FILE = click.option(
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Those of a file that a worker has made, and not those in Redis.",
)


@click.group()
def dead() -> None:
    """Look at the events that gave up, have them delivered again, or drop them.

    \b
    Examples:
      dispatcher dead list segment
      dispatcher dead show segment 1795442400000-0
      dispatcher dead replay segment --reason oversized --since 2026-01-31 --dry-run
      dispatcher dead drop emit --reason not_encodable
      dispatcher dead replay segment --file segment-20260131-093000-1f0c9a2e.jsonl.gz

    The oldest of too many dead letters go to files of the workers' machines, <state_directory>/dead; --file reads one.
    The destination "emit" has what emit itself could not take; such letters can be read, but not replayed.
    """


@dead.command("list")
@_selecting
@_FROM_FILE
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at the most.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_letters(destination: str, file: Path | None, limit: int, as_json: bool, **selecting: Any) -> None:
    """List dead letters, oldest first."""
    found = islice(_chosen(destination, file, _selection(selecting)), limit)
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
    if file is None:
        _tell_of_files(destination)


@dead.command()
@click.argument("destination")
@click.argument("letter")
@_FROM_FILE
def show(destination: str, letter: str, file: Path | None) -> None:
    """Show one dead letter whole, as JSON. Exit code 1 when there is none."""
    found = next(_chosen(destination, file, DeadLetterFilter(ids=[letter])), None)
    if found is None:
        raise click.ClickException(f"{destination} has no dead letter {letter}: `dispatcher dead list {destination}`")
    event = found.event
    whole: Any = found.payload.decode("utf-8", "replace") if event is None else json.loads(found.payload)
    click.echo(json.dumps({**_summary(found), "event": whole}, indent=2, ensure_ascii=False))


@dead.command()
@_selecting
@_FROM_FILE
@click.option(
    "--rate", type=click.FloatRange(0, min_open=True), default=1000.0, show_default=True, help="Events a second."
)
@click.option("--dry-run", is_flag=True, help="Only say how many would be.")
def replay(destination: str, file: Path | None, rate: float, dry_run: bool, **selecting: Any) -> None:
    """Have dead letters delivered again, with their own ids and times. What fails again is buried again.

    It can be interrupted and run again: a letter is either still there or on its way. A file stays as it is; what was
    replayed of it is known for a week.

    Exit code 1 where some were gone when their turn came, because somebody else replayed or dropped them.
    """
    if destination == NOT_TAKEN:
        raise click.ClickException("what emit could not take is only described, so there is nothing to replay")
    letters = _letters(destination)
    selection = _selection(selecting)
    total = sum(letter.can_be_replayed for letter in _chosen(destination, file, selection))
    if dry_run:
        click.echo(f"{total:,} dead letters would be replayed")
        return
    limits = config.load().destinations[destination]
    throttle = Throttle(rate)
    if file is not None:
        most = throttle.batch_size(limits.batch_events)
        _restore(letters, destination, file, selection, throttle=throttle, most=most, most_bytes=limits.batch_bytes)
        return
    chosen = (letter for letter in letters.select(destination, selection) if letter.can_be_replayed)
    done = 0
    batches = _batches(chosen, most=throttle.batch_size(limits.batch_events), most_bytes=limits.batch_bytes)
    for batch in _shown(batches, "replaying", total):
        throttle.wait(len(batch))
        done += letters.replay(batch)
    click.echo(f"{done:,} of {total:,} dead letters are on their way; `dispatcher status` shows how they fare")
    raise SystemExit(0 if done >= total else 1)


@dead.command()
@_selecting
@click.option("--dry-run", is_flag=True, help="Only say how many would be.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--filed", is_flag=True, help="Those that went to files instead, which stay: they only count no longer.")
def drop(destination: str, dry_run: bool, yes: bool, filed: bool, **selecting: Any) -> None:
    """Delete dead letters for good. The ledger counts them as filtered from then on."""
    letters = _letters(destination)
    if filed:
        if dry_run or any(selecting.values()):
            raise click.UsageError("--filed goes with no other option but --yes: it is all of them")
        if not yes:
            click.confirm(f"Have all dead letters of {destination} that are not in Redis count no longer?", abort=True)
        click.echo(f"{letters.forget_filed(destination):,} dead letters count as dropped")
        return
    selection = _selection(selecting)
    total = sum(1 for _ in letters.select(destination, selection))
    if dry_run or not total:
        click.echo(f"{total:,} dead letters would be dropped")
        return
    if not yes:
        click.confirm(f"Delete {total:,} dead letters of {destination} for good?", abort=True)
    # No more than were asked about: others may have been buried meanwhile.
    chosen = islice(letters.select(destination, selection), total)
    batches = _shown(_batches(chosen), "dropping", total)
    done = sum(letters.drop(destination, [letter.id for letter in batch]) for batch in batches)
    click.echo(f"{done:,} dead letters were dropped")


def _letters(destination: str) -> DeadLetters:
    settings = config.load()
    known = [*settings.destinations, NOT_TAKEN]
    if destination not in known:
        raise SettingsError([f"there is no destination {destination!r}; there are {', '.join(known)}"])
    pool = RedisPool(settings.store, timeout_seconds=5)
    return DeadLetters(pool)


def _chosen(destination: str, file: Path | None, selection: DeadLetterFilter) -> Iterator[DeadLetter]:
    letters = _letters(destination)
    if file is None:
        return letters.select(destination, selection)
    return (letter for letter in read(file, destination) if selection.has(letter))


def _tell_of_files(destination: str) -> None:
    settings = config.load()
    counts = BatchStore(RedisPool(settings.store, timeout_seconds=5)).counts([destination])[destination]
    if counts.dead_filed:
        directory = directory_of(settings.state_directory)
        click.echo(f"{counts.dead_filed:,} more are in files: {directory}, on the workers' machines", err=True)
    if counts.dead_unkept:
        click.echo(f"{counts.dead_unkept:,} more were too many to be kept", err=True)


def _restore(
    letters: DeadLetters,
    destination: str,
    file: Path,
    selection: DeadLetterFilter,
    *,
    throttle: Throttle,
    most: int,
    most_bytes: int,
) -> None:
    """Put what is chosen of a file, from where an earlier run has ended."""
    digest = hashlib.sha256(f"{selection}\n".encode() + file.read_bytes()).hexdigest()[:16]
    source = f"dead-{digest}"
    begun = letters.restored_until(destination, source)
    chosen = (
        (number, letter)
        for number, letter in enumerate(read(file, destination))
        if number >= begun and selection.has(letter) and letter.can_be_replayed
    )
    done = 0
    for batch in _numbered(chosen, most=most, most_bytes=most_bytes):
        throttle.wait(len(batch))
        if not letters.restore(batch, source):
            raise click.ClickException(f"somebody else replays {file} too: run it again, and it goes on from there")
        done += len(batch)
    earlier = ", and the others by an earlier run" if begun else ""
    click.echo(f"{done:,} dead letters of {file} are on their way{earlier}; `dispatcher status` shows how they fare")


def _selection(selecting: dict[str, Any]) -> DeadLetterFilter:
    return DeadLetterFilter(
        reason=selecting["reason"],
        name=selecting["name"],
        since=utc(selecting["since"]),
        until=utc(selecting["until"]),
        ids=selecting["letter_ids"],
    )


def _summary(letter: DeadLetter) -> dict[str, Any]:
    event = letter.event
    return {
        "letter": letter.id,
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
    for batch in _numbered(enumerate(letters), most=most, most_bytes=most_bytes):
        yield [letter for _, letter in batch]


def _numbered(
    letters: Iterable[tuple[int, DeadLetter]], *, most: int, most_bytes: int
) -> Iterator[list[tuple[int, DeadLetter]]]:
    batch: list[tuple[int, DeadLetter]] = []
    size = 0
    for number, letter in letters:
        if batch and (len(batch) >= most or size + len(letter.payload) > most_bytes):
            yield batch
            batch, size = [], 0
        batch.append((number, letter))
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
