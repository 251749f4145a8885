"""``dispatcher dead``: look at dead letters, have them delivered again, or drop them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click

from dispatcher import config
from dispatcher.cli.input.dead_letters import FROM_FILE, filter_options, read_after, to_filter
from dispatcher.cli.input.rate import RATE
from dispatcher.cli.output.dead_letters import print_list, summary, with_progress
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import SettingsError
from dispatcher.monitoring.units import count_text
from dispatcher.replay.throttle import Throttle
from dispatcher.secrecy.safe_text import to_json
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.dead_letter import DeadLetter, DeadLetterFilter
from dispatcher.store.dead_letter_files import directory_of, read
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.operator_note import note_command
from dispatcher.store.waiting_batches import scan_destinations

# Dead letters, and bytes of them, that are dropped in one step.
_DROPPED_EVENTS: Final = 100
_DROPPED_BYTES: Final = 4_000_000
# Seconds for one answer of Redis.
_TIMEOUT_SECONDS: Final = 5.0


@click.group()
def dead() -> None:
    """Look at dead letters, have their events delivered again, or drop them.

    \b
    Examples:
      dispatcher dead list
      dispatcher dead list segment --where data.course_id=course-v1:A+B+C
      dispatcher dead show segment 1795442400000-0
      dispatcher dead replay segment --reason oversized --since 2026-01-31 --dry-run
      dispatcher dead drop emit --reason not_encodable
      dispatcher dead replay segment --file segment-20260131-093000-1f0c9a2e.jsonl.gz

    If there are too many dead letters, the oldest go to files on the workers' machines, <state_directory>/dead; --file
    reads one. The destination "emit" has the events that emit could not take: you can read them, but not replay them.
    """


@dead.command("list")
@click.argument("destination", required=False)
@filter_options
@FROM_FILE
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--after", callback=read_after, metavar="ID", help="Go on behind this one, the last of the page before.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_dead_letters(destination: str | None, file: Path | None, limit: int, as_json: bool, **options: Any) -> None:
    """List dead letters, oldest first; those of all destinations, and of emit, without DESTINATION.

    \b
    Examples:
      dispatcher dead list
      dispatcher dead list --since 2026-01-31 --reason invalid
      dispatcher dead list --user 4711 --json
      dispatcher dead list segment --where data.course_id=course-v1:A+B+C --limit 500
    """
    if destination is None and file is not None:
        raise click.UsageError("--file needs DESTINATION, which the file's name begins with")
    wanted = to_filter(options)
    found = _select_all(wanted) if destination is None else _select(destination, file, wanted)
    # One more than is shown, to know whether more follow.
    letters = list(islice(found, limit + 1))
    for letter in letters[:limit] if as_json else ():
        click.echo(json.dumps(summary(letter)))
    if not as_json:
        print_list(letters[:limit], with_destination=destination is None)
    if len(letters) > limit:
        last = letters[limit - 1]
        place = last.id if destination is not None else f"{last.destination}/{last.id}"
        click.echo(f"more follow: give --after {place}, or a higher --limit", err=True)
    if not as_json and file is None and destination is not None:
        _print_counts_elsewhere(destination)


@dead.command()
@click.argument("destination")
@click.argument("id")
@FROM_FILE
def show(destination: str, id: str, file: Path | None) -> None:
    """Show the dead letter ID with its event, as JSON, and what the destination answered, in its own words.

    Exit code 1 if it does not exist.
    """
    letter = next(_select(destination, file, DeadLetterFilter(ids=[id])), None)
    if letter is None:
        raise click.ClickException(f"{destination} has no dead letter {id}: see `dispatcher dead list {destination}`")
    event: Any = letter.payload.decode("utf-8", "replace") if letter.event is None else json.loads(letter.payload)
    click.echo(to_json({**summary(letter), "answer": letter.answer or None, "event": event}, indent=2))


@dead.command()
@click.argument("destination")
@filter_options
@FROM_FILE
@RATE
@click.option("--dry-run", is_flag=True, help="Only say how many it would replay.")
def replay(destination: str, file: Path | None, rate: float, dry_run: bool, **options: Any) -> None:
    """Have dead letters delivered again, with their own ids and times. An event that fails again dies again.

    You can interrupt it and run it again: a dead letter is either still there or on its way. A file stays as it is;
    what was replayed from it with the same options is known for a week.

    Exit code 1 if some were gone before their turn, because somebody else replayed or dropped them.
    """
    if destination == NOT_TAKEN:
        raise click.ClickException("what emit could not take is only described, so there is nothing to replay")
    letters = _dead_letters(destination)
    if destination not in config.load().destinations:
        raise SettingsError(
            [f"{destination!r} is not in the settings, so nobody would deliver what is replayed; add it, or drop these"]
        )
    wanted = to_filter(options)
    total = sum(letter.can_be_replayed for letter in _select(destination, file, wanted))
    if dry_run:
        click.echo(f"{count_text(total, 'dead letter')} would be replayed")
        return
    throttle = Throttle(rate)
    if file is not None:
        _replay_file(letters, destination, file, wanted, throttle)
        return
    chosen = (letter for letter in letters.select(destination, wanted) if letter.can_be_replayed)
    done = 0
    batches = _batches(enumerate(chosen), *_batch_limits(destination, throttle))
    for batch in with_progress(batches, "replaying", total):
        throttle.wait(len(batch))
        done += letters.replay([letter for _, letter in batch])
    _note(destination, f"dead replay: {count_text(done, 'dead letter')}")
    click.echo(f"on the way: {done:,} of {count_text(total, 'dead letter')}; `dispatcher status` shows how they fare")
    raise SystemExit(0 if done >= total else 1)


@dead.command()
@click.argument("destination")
@filter_options
@click.option("--dry-run", is_flag=True, help="Only say how many it would drop.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--filed", is_flag=True, help="Those that have left Redis. Their files stay, but they no longer count as dead."
)
def drop(destination: str, dry_run: bool, yes: bool, filed: bool, **options: Any) -> None:
    """Delete dead letters for good. The ledger then counts their events as filtered."""
    letters = _dead_letters(destination)
    if filed:
        if dry_run or any(options.values()):
            raise click.UsageError("--filed goes with no other option but --yes: it is for all of them")
        if not yes:
            question = f"Count all dead letters of {destination} that have left Redis as dropped?"
            click.confirm(question, abort=True)
        number = count_text(letters.forget_filed(destination), "dead letter")
        _note(destination, f"dead drop --filed: {number}")
        click.echo(f"{number} counted as dropped")
        return
    wanted = to_filter(options)
    total = sum(1 for _ in letters.select(destination, wanted))
    if not total:
        click.echo("no dead letter matches: nothing to drop")
        return
    if dry_run:
        click.echo(f"{count_text(total, 'dead letter')} would be dropped")
        return
    if not yes:
        click.confirm(f"Delete {count_text(total, 'dead letter')} of {destination} for good?", abort=True)
    # As many as were asked about: others may have died meanwhile.
    chosen = islice(letters.select(destination, wanted), total)
    batches = _batches(enumerate(chosen), _DROPPED_EVENTS, _DROPPED_BYTES)
    done = 0
    for batch in with_progress(batches, "dropping", total):
        done += letters.drop(destination, [letter.id for _, letter in batch])
    _note(destination, f"dead drop: {count_text(done, 'dead letter')}")
    click.echo(f"{count_text(done, 'dead letter')} dropped")


def _dead_letters(destination: str) -> DeadLetters:
    settings = config.load()
    known = [*settings.destinations, NOT_TAKEN]
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    if destination not in known:
        # One that is gone from the settings still has its dead letters.
        known = list(dict.fromkeys([*known, *scan_destinations(pool)]))
    if destination not in known:
        raise SettingsError([f"unknown destination {destination!r}; known ones are {', '.join(known)}"])
    return DeadLetters(pool)


def _select_all(wanted: DeadLetterFilter) -> Iterator[DeadLetter]:
    """The wanted dead letters of every destination that Redis knows, by their place and then by destination."""
    settings = config.load()
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    letters = DeadLetters(pool)
    names = sorted(dict.fromkeys([*settings.served_destinations, NOT_TAKEN, *scan_destinations(pool)]))
    # merge keeps the order of its arguments where two have the same key.
    return merge(*(letters.select(name, wanted) for name in names), key=lambda letter: letter.place)


def _select(destination: str, file: Path | None, wanted: DeadLetterFilter) -> Iterator[DeadLetter]:
    letters = _dead_letters(destination)
    if file is None:
        return letters.select(destination, wanted)
    return (letter for letter in read(file, destination) if wanted.has(letter))


def _print_counts_elsewhere(destination: str) -> None:
    settings = config.load()
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    counts = BatchStore(pool).counts([destination])[destination]
    if counts.dead_filed:
        directory = directory_of(settings.state_directory)
        click.echo(f"in files on the workers' machines, in {directory}: {counts.dead_filed:,} more", err=True)
    if counts.dead_unkept:
        click.echo(f"counted, but not kept, since they were beyond every limit: {counts.dead_unkept:,} more", err=True)


def _replay_file(
    letters: DeadLetters, destination: str, file: Path, wanted: DeadLetterFilter, throttle: Throttle
) -> None:
    """Have the wanted dead letters of a file delivered again, from where an earlier run ended."""
    # Only what was given, so that a later release with further options knows an earlier replay.
    given = json.dumps({name: value for name, value in sorted(asdict(wanted).items()) if value}, default=str)
    digest = hashlib.sha256(f"{given}\n".encode() + file.read_bytes()).hexdigest()[:16]
    source = f"dead-{digest}"
    start = letters.restored_until(destination, source)
    chosen = (
        (number, letter)
        for number, letter in enumerate(read(file, destination))
        if number >= start and wanted.has(letter) and letter.can_be_replayed
    )
    done = 0
    for batch in _batches(chosen, *_batch_limits(destination, throttle)):
        throttle.wait(len(batch))
        if not letters.restore(batch, source):
            raise click.ClickException(f"somebody else replays {file} too: run it again, and it goes on from there")
        done += len(batch)
    _note(destination, f"dead replay --file: {count_text(done, 'dead letter')}")
    earlier = ", and the others by an earlier run" if start else ""
    click.echo(
        f"on the way: {count_text(done, 'dead letter')} of {file}{earlier}; `dispatcher status` shows how they fare"
    )


def _note(destination: str, command: str) -> None:
    note_command(RedisPool(config.load().store, timeout_seconds=_TIMEOUT_SECONDS), destination, command)


def _batch_limits(destination: str, throttle: Throttle) -> tuple[int, int]:
    """Events and bytes of a batch of a replay."""
    table = config.load().destinations[destination]
    return throttle.batch_size(table.batch_events), table.batch_bytes


def _batches(
    letters: Iterable[tuple[int, DeadLetter]], max_events: int, max_bytes: int
) -> Iterator[list[tuple[int, DeadLetter]]]:
    """Dead letters with their numbers, in batches within these limits; a larger one is alone in its batch."""
    batch: list[tuple[int, DeadLetter]] = []
    size = 0
    for number, letter in letters:
        if batch and (len(batch) >= max_events or size + len(letter.payload) > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append((number, letter))
        size += len(letter.payload)
    if batch:
        yield batch
