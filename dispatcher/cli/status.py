"""``dispatcher status``: the ledger, as a table or as JSON."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

import click
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
    """The ledger for people."""
    table = Table(title="Where the events are", title_justify="left")
    table.add_column("destination", style="bold")
    for heading in ("accepted", "delivered", "waiting", "of these parked", "dead", "filtered"):
        table.add_column(heading, justify="right")
    table.add_column("oldest waiting", justify="right")
    table.add_column("last error", max_width=48, overflow="fold")
    for name, counts in ledger.destinations.items():
        if name != EMIT or counts.accepted:
            table.add_row(*_row(name, counts))
    parts: list[Table | Text] = [table]
    waiting = [outbox for outbox in ledger.outboxes if outbox.waiting or outbox.refused]
    if waiting:
        parts.append(_outbox_table(ledger))
    else:
        parts.append(Text(f"Nothing waits in {len(ledger.outboxes)} outboxes.", style="dim"))
    return Group(*parts)


def _row(name: str, counts: Counts) -> list[str | Text]:
    return [
        name if name != EMIT else "(not taken)",
        f"{counts.accepted:,}",
        f"{counts.delivered:,}",
        f"{counts.waiting:,}",
        f"{counts.parked:,}",
        _with_reasons(counts.dead, counts.dead_by_reason, "red" if counts.dead else ""),
        _with_reasons(counts.filtered, counts.filtered_by_reason, ""),
        _age(counts.oldest_ms),
        counts.last_error if counts.waiting or counts.dead else "",
    ]


def _with_reasons(total: int, reasons: Any, style: str) -> Text:
    details = "".join(f"\n{reason} {n:,}" for reason, n in sorted(reasons.items()))
    return Text(f"{total:,}", style=style).append(details, style="dim")


def _outbox_table(ledger: Ledger) -> Table:
    table = Table(title="Waiting in outboxes of this machine", title_justify="left")
    table.add_column("outbox")
    for heading in ("events", "MB", "refused"):
        table.add_column(heading, justify="right")
    table.add_column("process")
    for outbox in ledger.outboxes:
        if outbox.waiting or outbox.refused:
            process = f"{outbox.pid}" if outbox.alive else f"{outbox.pid}, gone: `dispatcher relay` takes it on"
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
