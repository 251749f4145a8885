"""``dispatcher status``: the ledger, as a table or as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dispatcher import config
from dispatcher.batches import EMIT, BatchStore, Counts
from dispatcher.errors import StoreUnavailableError
from dispatcher.ledger import Ledger, take_ledger
from dispatcher.redis_pool import RedisPool


@click.command()
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option("--every", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object (with --watch one a line).")
def status(watch: bool, every: float, as_json: bool) -> None:
    """Show where the events are: accepted = delivered + waiting + dead + filtered, for each destination.

    \b
    Examples:
      dispatcher status
      dispatcher status --watch
      dispatcher status --json | jq .destinations.segment.waiting
    """
    settings = config.load()
    store = BatchStore(RedisPool(settings.store, timeout_seconds=2))
    if not watch:
        ledger = take_ledger(settings, store)
        if as_json:
            click.echo(json.dumps(ledger_json(ledger), indent=2))
        else:
            Console().print(ledger_table(ledger))
        return
    try:
        _watch(settings, store, every=every, as_json=as_json)
    except KeyboardInterrupt:
        return


def _watch(settings: config.Settings, store: BatchStore, *, every: float, as_json: bool) -> None:
    with Live(console=Console(quiet=as_json), auto_refresh=False) as live:
        while True:
            try:
                ledger = take_ledger(settings, store)
            except StoreUnavailableError as error:
                live.update(Text(f"{error}; trying again", style="red"), refresh=True)
            else:
                if as_json:
                    click.echo(json.dumps(ledger_json(ledger)))
                else:
                    live.update(ledger_table(ledger), refresh=True)
            time.sleep(every)


def ledger_json(ledger: Ledger) -> dict[str, Any]:
    """The ledger for scripts. Times are in milliseconds since 1970."""
    return {
        "in_outboxes": ledger.in_outboxes,
        "waiting": ledger.waiting,
        "destinations": {
            name: {**asdict(counts), "waiting": counts.waiting, "closes": counts.closes}
            for name, counts in ledger.destinations.items()
        },
        "outboxes": [asdict(outbox) for outbox in ledger.outboxes],
    }


def ledger_table(ledger: Ledger) -> Group:
    """The ledger for people. Narrow enough for 80 columns with eight-digit numbers."""
    table = _table(
        "Where the events are", "destination", "accepted", "delivered", "waiting", "dead", "filtered", "oldest"
    )
    shown = {name: counts for name, counts in ledger.destinations.items() if name != EMIT or counts.accepted}
    for name, counts in shown.items():
        numbers = (counts.accepted, counts.delivered, counts.waiting, counts.dead, counts.filtered)
        table.add_row(_title(name), *(f"{number:,}" for number in numbers), _age(counts.oldest_ms))
    parts: list[Table | Text] = [table]
    for name, counts in shown.items():
        parts += _notes(name, counts)
    if any(outbox.waiting or outbox.refused for outbox in ledger.outboxes):
        parts.append(_outbox_table(ledger))
    else:
        parts.append(Text("Nothing waits in the outboxes of this machine.", style="dim"))
    return Group(*parts)


def _notes(name: str, counts: Counts) -> Iterator[Text]:
    title = _title(name)
    if counts.parked and counts.due_ms is not None:
        wait = max(0, int(counts.due_ms / 1000 - time.time()))
        yield Text.assemble((title, "bold"), f": {counts.parked:,} parked, the next tried in {wait} s")
    if counts.last_error and (counts.waiting or counts.dead):
        yield Text.assemble((title, "bold"), f", {_age(counts.last_error_ms)} ago: ", (counts.last_error, "red"))
    for kind, reasons in (("dead", counts.dead_by_reason), ("filtered", counts.filtered_by_reason)):
        if reasons:
            listed = ", ".join(f"{reason} {number:,}" for reason, number in sorted(reasons.items()))
            yield Text.assemble((title, "bold"), f" {kind}: {listed}", style="red" if kind == "dead" else "dim")


def _title(name: str) -> str:
    return name if name != EMIT else "(not taken)"


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, style="bold", no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _outbox_table(ledger: Ledger) -> Table:
    table = _table("Waiting in outboxes of this machine", "outbox", "events", "MB", "refused")
    table.add_column("process")
    for outbox in ledger.outboxes:
        if outbox.waiting or outbox.refused:
            process = f"{outbox.pid}" if outbox.alive else f"{outbox.pid}, gone; a relay takes it on"
            table.add_row(
                outbox.name, f"{outbox.waiting:,}", f"{outbox.bytes / 1e6:,.1f}", f"{outbox.refused:,}", process
            )
    return table


def _age(since_ms: int | None) -> str:
    if since_ms is None:
        return ""
    seconds = max(0, int(time.time() - since_ms / 1000))
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
