"""Waiting: what waits, by destination or by batch; as JSON, and on the screen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from dispatcher.config import Settings
from dispatcher.event import decode
from dispatcher.monitoring.units import count_text, duration_text
from dispatcher.secrecy.terminal import Console
from dispatcher.store.counts import Counts
from dispatcher.store.posted_events import EventForPage
from dispatcher.store.waiting_batches import WaitingBatch


def destination_summary(name: str, counts: Counts, settings: Settings) -> dict[str, Any]:
    """What waits for a destination, for ``json.dumps``. ``unserved`` is why nobody delivers it, or null."""
    unserved = None
    if name not in settings.destinations:
        unserved = "not in the settings"
    elif name not in settings.served_destinations:
        unserved = "disabled"
    return {
        "destination": name,
        "events": counts.waiting,
        "batches": counts.batches,
        "queued": counts.queued,
        "claimed": counts.claimed,
        "parked": counts.parked,
        "posted": counts.posted,
        "oldest_ms": min(filter(None, (counts.oldest_ms, counts.posted_oldest_ms)), default=None),
        "unserved": unserved,
    }


def batch_summary(batch: WaitingBatch) -> dict[str, Any]:
    """A batch without its events, for ``json.dumps``."""
    return {
        "batch": batch.id,
        "state": batch.state,
        "events": batch.count,
        "example": batch.example,
        "attempts": batch.attempts,
        "put_ms": batch.put_ms,
        "due_ms": batch.due_ms,
        "error": batch.error,
    }


def event_summary(event: EventForPage) -> dict[str, Any]:
    """An event that waits for a page, without what is in it, for ``json.dumps``."""
    return {
        "event": event.id,
        "state": "posted",
        "example": _name_of(event),
        "attempts": event.tries,
        "put_ms": event.since_ms,
        "due_ms": event.until_ms,
        "error": event.reason,
    }


def print_events(events: Sequence[EventForPage], counts: Counts) -> None:
    """Print a line for each event that waits for a page; and how many more there are."""
    console = Console(highlight=False, soft_wrap=True)
    now = time.time()
    for event in events:
        since, until = (duration_text(abs(now - moment / 1000)) for moment in (event.since_ms, event.until_ms))
        tried = f", tried {count_text(event.tries, 'time')}: {event.reason}" if event.tries else ""
        end = f"dead in {until}" if event.until_ms / 1000 > now else "dead soon"
        line = f"  {_name_of(event)}  waits for its visitor's page since {since}{tried}, {end}"
        console.print(Text.assemble((event.id, "bold"), line))
    if counts.posted > len(events):
        console.print(f"{counts.posted - len(events):,} more for pages; --limit shows more")


def _name_of(event: EventForPage) -> str:
    try:
        return decode(event.payload).name
    except (msgspec.DecodeError, RecursionError):
        return "?"


def print_destinations(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of what ``destination_summary`` made."""
    if not rows:
        Console(highlight=False).print("no event waits")
        return
    # Few columns, so that all of it stands in eighty characters; `dispatcher status` has the states.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("destination", style="bold", overflow="fold")
    for heading in ("events", "batches", "oldest"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("served by", no_wrap=True)
    now = time.time()
    for row in rows:
        served = Text("workers") if row["unserved"] is None else Text(f"nobody: {row['unserved']}", style="red")
        numbers = [f"{row[key]:,}" for key in ("events", "batches")]
        oldest = "" if row["oldest_ms"] is None else duration_text(now - row["oldest_ms"] / 1000)
        table.add_row(row["destination"], *numbers, oldest, served)
    Console(highlight=False).print(table)


def print_batches(batches: Sequence[WaitingBatch], counts: Counts) -> None:
    """Print a line for each batch, with its last error below; and how many more there are."""
    console = Console(highlight=False, soft_wrap=True)
    if not counts.waiting:
        console.print("no event waits")
        return
    now_ms = time.time() * 1000
    for batch in batches:
        head = Text.assemble((batch.id, "bold"), f"  {batch.state}")
        if batch.due_ms is not None:
            seconds = (batch.due_ms - now_ms) / 1000
            until = "due" if batch.state == "parked" else "its lease ends"
            head.append(f", {until} now" if seconds <= 0 else f", {until} in {duration_text(seconds)}")
        tries = f", tried {count_text(batch.attempts, 'time')}" if batch.attempts else ""
        head.append(f"  {count_text(batch.count, 'event')}, such as {batch.example or '?'}")
        head.append(f"  {duration_text((now_ms - batch.put_ms) / 1000)} old{tries}")
        console.print(head)
        if batch.error:
            console.print(Text(f"    {batch.error}", style="dim"))
    if counts.batches > len(batches):
        console.print(f"{counts.batches - len(batches):,} more; --limit shows more")
