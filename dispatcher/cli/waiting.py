"""``dispatcher waiting``: look at what waits for a destination, and move it to another one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

import click
import msgspec

from dispatcher import config
from dispatcher.cli.output.dead_letters import with_progress
from dispatcher.cli.output.waiting import (
    batch_summary,
    destination_summary,
    event_summary,
    print_batches,
    print_destinations,
    print_events,
)
from dispatcher.config import Settings
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import SettingsError
from dispatcher.event import DIRECT_TYPES, decode
from dispatcher.monitoring.units import count_text
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.operator_note import note_command
from dispatcher.store.posted_events import PostedEvents
from dispatcher.store.waiting_batches import WaitingBatch, WaitingBatches, scan_destinations

# Seconds for one answer of Redis.
_TIMEOUT_SECONDS: Final = 5.0
# Batches moved in one step, which keeps Redis from others for a few milliseconds.
_STEP: Final = 50


@click.group()
def waiting() -> None:
    """Look at the events that wait for a destination, and move them to another one.

    \b
    Examples:
      dispatcher waiting list
      dispatcher waiting list segment
      dispatcher waiting show segment 4711-5f0c9a2e11d04b7a-0
      dispatcher waiting move segment_old segment --dry-run

    When a destination was renamed or removed, what waits for it stays in Redis, and nobody delivers it: move it.
    """


@waiting.command("list")
@click.argument("destination", required=False)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many batches at most.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_waiting(destination: str | None, limit: int, as_json: bool) -> None:
    """List destinations for which events wait; with DESTINATION its batches, the oldest first.

    Of a destination in browsers, events that wait for pages of their visitors follow, one by one.
    """
    settings = config.load()
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    if destination is None:
        names = dict.fromkeys([*settings.served_destinations, *scan_destinations(pool)])
        counts = BatchStore(pool).counts([name for name in names if name != NOT_TAKEN])
        rows = [destination_summary(name, one, settings) for name, one in counts.items() if one.waiting]
        if as_json:
            for row in rows:
                click.echo(json.dumps(row))
        else:
            print_destinations(rows)
        return
    _refuse_unknown(destination, settings, pool)
    batches = list(islice(WaitingBatches(pool).select(destination), limit))
    events = list(islice(PostedEvents(pool).select(destination), limit - len(batches)))
    if as_json:
        for row in (*map(batch_summary, batches), *map(event_summary, events)):
            click.echo(json.dumps(row))
    else:
        ledger = BatchStore(pool).counts([destination])[destination]
        print_batches(batches, ledger)
        print_events(events, ledger)


@waiting.command()
@click.argument("destination")
@click.argument("batch")
def show(destination: str, batch: str) -> None:
    """Show the events of BATCH, one as JSON on each line, with all that they say of people.

    BATCH may be the id of an event that waits for a page of its visitor.

    Exit code 1 if it does not wait any more.
    """
    settings = config.load()
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    _refuse_unknown(destination, settings, pool)
    events = WaitingBatches(pool).events(destination, batch)
    if events is None and (posted := PostedEvents(pool).find(destination, batch)) is not None:
        events = (posted.payload,)
    if events is None:
        remedy = f"see `dispatcher waiting list {destination}`"
        raise click.ClickException(f"no batch {batch} waits for {destination}: {remedy}")
    for event in events:
        # Not as the bytes are: they may hold what moves a terminal's cursor.
        click.echo(json.dumps(json.loads(event)))


@waiting.command()
@click.argument("old")
@click.argument("new")
@click.option("--dry-run", is_flag=True, help="Only say how many it would move.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def move(old: str, new: str, dry_run: bool, yes: bool) -> None:
    """Move all events that wait for OLD to NEW, with their ids and times, whatever the allowlist of NEW says.

    OLD need not be in the settings any more. Each batch moves in one step, so you can interrupt the command and run it
    again. What a worker is delivering stays, and so does what waits for pages of its visitors. The ledger counts the
    events as filtered for OLD, "transferred", and as accepted for NEW.

    Exit code 1 if some had to stay.
    """
    settings = config.load()
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    _refuse_unknown(old, settings, pool)
    if new not in settings.served_destinations:
        known = ", ".join(settings.served_destinations)
        raise SettingsError([f"no worker would serve {new!r}; destinations that are enabled are {known}"])
    if old == new:
        raise click.UsageError("OLD and NEW are the same")
    batches = WaitingBatches(pool)
    chosen, kept = _movable(batches, old, settings.destinations[new].traits.takes_direct_calls)
    if posted := BatchStore(pool).counts([old])[old].posted:
        kept["they wait for pages of their visitors, who alone can take them"] = posted
    events = sum(batch.count for batch in chosen)
    for why, number in kept.items():
        click.echo(f"{count_text(number, 'event')} would stay: {why}", err=True)
    if dry_run or not events:
        click.echo(f"{count_text(events, 'event')} would be moved from {old} to {new}")
        raise SystemExit(1 if kept else 0)
    if not yes:
        click.confirm(f"Move {count_text(events, 'event')} from {old} to {new}?", abort=True)
    moved = 0
    for step in with_progress(_steps(chosen), "moving", len(chosen)):
        moved += batches.transfer(old, new, [batch.id for batch in step])[1]
    note_command(pool, old, f"waiting move: {count_text(moved, 'event')} to {new}")
    click.echo(f"{count_text(moved, 'event')} moved from {old} to {new}; `dispatcher status` shows how they fare")
    raise SystemExit(1 if kept or moved < events else 0)


def _refuse_unknown(destination: str, settings: Settings, pool: RedisPool) -> None:
    if destination in settings.destinations:
        return
    known = dict.fromkeys([*settings.destinations, *(name for name in scan_destinations(pool) if name != NOT_TAKEN)])
    if destination not in known:
        raise SettingsError([f"unknown destination {destination!r}; known ones are {', '.join(known)}"])


def _movable(batches: WaitingBatches, old: str, takes_direct_calls: bool) -> tuple[list[WaitingBatch], dict[str, int]]:
    """The batches that may move, and how many events may not, and why."""
    chosen: list[WaitingBatch] = []
    kept: dict[str, int] = {}
    for batch in batches.select(old):
        why = ""
        if batch.state == "claimed" and (batch.due_ms or 0) > time.time() * 1000:
            why = "a worker has them, or had them when it died; run this again when its lease has run out"
        elif not takes_direct_calls and _has_direct_calls(batches.events(old, batch.id)):
            why = "they are in batches with direct calls such as segment.track, which only Segment takes"
        if why:
            kept[why] = kept.get(why, 0) + batch.count
        else:
            chosen.append(batch)
    return chosen, kept


def _has_direct_calls(events: tuple[bytes, ...] | None) -> bool:
    for payload in events or ():
        try:
            if decode(payload).type in DIRECT_TYPES:
                return True
        except msgspec.DecodeError:  # what delivers it makes a dead letter of it
            continue
    return False


def _steps(batches: list[WaitingBatch]) -> Iterator[list[WaitingBatch]]:
    for start in range(0, len(batches), _STEP):
        yield batches[start : start + _STEP]
