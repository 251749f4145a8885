"""``dispatcher drain``: wait until no event waits any more."""

from __future__ import annotations

import json
import time

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dispatcher import config
from dispatcher.cli.output.remedy import redis_remedy, settings_note
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import OutboxError, StoreUnavailableError
from dispatcher.monitoring.ledger import Ledger, take_ledger
from dispatcher.monitoring.units import count_text
from dispatcher.secrecy.terminal import Console
from dispatcher.store.batches import BatchStore

# Between two counts: longer than an event is on its way from an outbox to the store.
_EVERY_SECONDS = 0.2


@click.command()
@click.option("--timeout", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to wait.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def drain(timeout: float, as_json: bool) -> None:
    """Wait until outboxes and queues are empty. Exit code 0 once they are, 1 if they are not in time.

    Exit code 5 at once if this user may not read the outbox directory: nobody can tell then.

    It only waits: relays and workers do the work. Events that are parked until they are tried again count as waiting;
    dead letters and filtered events do not.

    \b
    Example, before you remove a machine:
      dispatcher drain --timeout 120
    """
    settings = config.load()
    store = BatchStore(RedisPool(settings.store, timeout_seconds=2))
    deadline = time.monotonic() + timeout
    ledger, why = _wait(settings, store, deadline)
    if ledger is not None and ledger.problem and not as_json:
        raise OutboxError(f"whether all is drained cannot be told: {ledger.problem}")
    waiting = ledger.waiting if ledger is not None and not ledger.problem else None
    drained = ledger is not None and _is_empty(ledger)
    if as_json:
        unread = ledger.unread if ledger is not None else ""
        click.echo(json.dumps({"drained": drained, "waiting": waiting, "problem": unread or None}))
        if ledger is not None and ledger.problem:
            raise OutboxError(ledger.problem)
    elif drained:
        click.echo("drained: outboxes and queues are empty")
    else:
        left = f"{why}. {redis_remedy()}" if ledger is None else _left(ledger)
        click.echo(f"not drained after {timeout:g} s: {left}", err=True)
        if ledger is None:
            click.echo(settings_note(), err=True)
    raise SystemExit(0 if drained else 1)


def _wait(settings: config.Settings, store: BatchStore, deadline: float) -> tuple[Ledger | None, str]:
    """The last ledger; or None, and what Redis said instead."""
    columns = (TextColumn("draining"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    ledger: Ledger | None = None
    why = ""
    # Two empty counts in a row: an event that goes from outbox to store while they are counted shows in the second.
    empty = 0
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("draining", total=None)
        highest = 0
        while True:
            try:
                ledger = take_ledger(settings, store)
            except StoreUnavailableError as error:
                ledger, why = None, str(error)
            if ledger is not None:
                highest = max(highest, ledger.waiting)
                progress.update(task, total=highest, completed=highest - ledger.waiting)
                empty = empty + 1 if _is_empty(ledger) else 0
            if empty == 2 or time.monotonic() >= deadline or (ledger is not None and ledger.problem):
                return ledger, why
            time.sleep(_EVERY_SECONDS)


def _is_empty(ledger: Ledger) -> bool:
    # An outbox that cannot be read may hold events.
    return ledger.waiting == 0 and not ledger.unread


def _left(ledger: Ledger) -> str:
    parts = [f"{count_text(ledger.in_outboxes, 'event')} in outboxes"] if ledger.in_outboxes else []
    parts += [f"events in {outbox.name}, which cannot be read" for outbox in ledger.unreadable[:3]]
    if len(ledger.unreadable) > 3:
        parts.append(f"and in {len(ledger.unreadable) - 3} more")
    parts += [f"{counts.in_batches:,} for {name}" for name, counts in ledger.destinations.items() if counts.in_batches]
    return f"still waiting: {', '.join(parts)}; `dispatcher status` says why"
