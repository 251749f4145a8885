"""``dispatcher status``: the ledger, as a table or as JSON."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import asdict, replace
from typing import Any, Final

import click
from rich.live import Live

from dispatcher import config
from dispatcher.cli.output.ledger_screen import LedgerScreen
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import OutboxError, SettingsError, StoreUnavailableError
from dispatcher.monitoring.intake import Intake
from dispatcher.monitoring.rates import Rates
from dispatcher.monitoring.snapshot import Observer, Snapshot
from dispatcher.monitoring.source_summary import SourceSummary
from dispatcher.secrecy.terminal import Console
from dispatcher.store.counts import Counts

# For each of the seven round trips of a snapshot.
_TIMEOUT_SECONDS: Final = 2.0


@click.command()
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    help="Seconds between snapshots.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch, one a line.")
def status(watch: bool, every: float, as_json: bool) -> None:
    """Show where the events are: accepted = delivered + waiting + dead + filtered, for each destination.

    The first table is the ledger, and the line below it says whether the sums close. The second table is what waits:
    queued for a worker, under way in one, or parked until it is tried again; and the breaker. Errors, reasons, the
    outboxes of this machine, and what its collectors took, follow. --watch adds the number of events that are delivered
    a second.

    \b
    Examples:
      dispatcher status
      dispatcher status --watch
      dispatcher status --json | jq .destinations.segment.waiting

    Exit code 1 if a sum does not close, 3 if the settings cannot be used, 4 if Redis does not answer, 5 if this user
    may not read the outboxes; what can be seen is shown all the same.
    """
    observer = _observer()
    if not watch:
        _show(observer.take_snapshot(), as_json=as_json)
        return
    # Like Ctrl-C, so that the terminal gets its cursor back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _watch(observer, every=every, as_json=as_json)
    except KeyboardInterrupt:
        return


def _observer() -> Observer:
    problems: tuple[str, ...] = ()
    try:
        settings = config.load()
    except SettingsError as error:
        # Where the events are can be seen in spite of a mistake in a file: that needs the URL of Redis alone.
        settings, problems = config.rescue(error), error.problems
    return Observer(settings, RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS), problems=problems)


def _show(snapshot: Snapshot, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(snapshot_json(snapshot), indent=2))
    else:
        Console(highlight=False).print(LedgerScreen(snapshot=snapshot))
    if snapshot.problem:
        raise StoreUnavailableError(snapshot.problem)
    if not snapshot.closes:
        raise SystemExit(1)
    if snapshot.settings_problems:
        raise SettingsError(snapshot.settings_problems)
    if snapshot.ledger.unread:
        raise OutboxError(snapshot.ledger.unread)


def _watch(observer: Observer, *, every: float, as_json: bool) -> None:
    rates = Rates()
    latest: Snapshot | None = None
    known: dict[str, float] = {}
    console = Console(quiet=as_json, highlight=False)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            snapshot = observer.take_snapshot()
            if not snapshot.problem:
                known = rates.add(
                    snapshot.at, {name: counts.delivered for name, counts in snapshot.destinations.items()}
                )
                latest = snapshot
            if as_json:
                click.echo(json.dumps(snapshot_json(snapshot, rates=known)))
            elif console.is_terminal:
                live.update(_screen(snapshot, latest, known), refresh=True)
            else:
                console.print(_screen(snapshot, latest, known), "")
            time.sleep(every)


def _screen(snapshot: Snapshot, latest: Snapshot | None, rates: dict[str, float]) -> LedgerScreen:
    if not snapshot.problem or latest is None:
        return LedgerScreen(snapshot=snapshot, rates=rates, live=True, problem=snapshot.problem)
    # The last snapshot of Redis, with the outboxes as they are now.
    local = snapshot.ledger
    shown = replace(latest, ledger=replace(latest.ledger, outboxes=local.outboxes, damage=local.damage))
    return LedgerScreen(snapshot=shown, rates={}, live=True, problem=snapshot.problem)


def snapshot_json(snapshot: Snapshot, *, rates: dict[str, float] | None = None) -> dict[str, Any]:
    """The snapshot for scripts. Times are in milliseconds since 1970. New versions add keys and remove none."""
    ledger, memory = snapshot.ledger, snapshot.memory

    def destination(name: str, counts: Counts) -> dict[str, Any]:
        return {
            **asdict(counts),
            "waiting": counts.waiting,
            "dead_filed": counts.dead_filed,
            "dead_unkept": counts.dead_unkept,
            "closes": counts.closes,
            "batches_by_state": dict(snapshot.batches.get(name, {})),
            "doorbells": snapshot.doorbells.get(name),
            "per_second": (rates or {}).get(name),
        }

    return {
        "at_ms": int(snapshot.at * 1000),
        "problem": snapshot.problem or None,
        "settings_problems": list(snapshot.settings_problems),
        "forbidden": snapshot.forbidden or None,
        "closes": snapshot.closes,
        # What this user may not see is not known, rather than 0.
        "in_outboxes": None if ledger.problem else ledger.in_outboxes,
        "waiting": None if ledger.problem else ledger.waiting,
        "destinations": {name: destination(name, counts) for name, counts in ledger.destinations.items()},
        "unserved": {name: destination(name, counts) for name, counts in snapshot.unserved.items()},
        "outbox": {
            "waiting": None if ledger.problem else ledger.in_outboxes,
            "bytes": sum(outbox.bytes for outbox in ledger.outboxes),
            "disk_bytes": snapshot.outbox_disk_bytes,
            "limit_bytes": snapshot.outbox_limit_bytes,
            "oldest_ms": snapshot.outbox_oldest_ms,
            "refused": sum(outbox.refused for outbox in ledger.outboxes),
            "alive": sum(outbox.alive for outbox in ledger.outboxes),
            "dead": sum(not outbox.alive for outbox in ledger.outboxes),
            "unreadable": len(ledger.unreadable),
            "damaged_pieces": ledger.damage.pieces,
            "damaged_bytes": ledger.damage.bytes,
            "problem": ledger.problem or None,
        },
        "outboxes": [asdict(outbox) for outbox in ledger.outboxes],
        "redis": None if memory is None else asdict(memory),
        "ids": None if snapshot.ids is None else asdict(snapshot.ids),
        "sources": {source.name: _source_json(source) for source in snapshot.source_summaries()},
        "refused_requests": None if snapshot.intake is None else _refused_json(snapshot.intake, snapshot.at),
    }


def _source_json(source: SourceSummary) -> dict[str, Any]:
    found = asdict(source) | {"rejected": source.rejected, "refused": source.refused, "dropped": source.dropped}
    del found["name"]
    return found


def _refused_json(intake: Intake, now: float) -> dict[str, Any]:
    recent = intake.recent_refusals(now)
    return {
        "by_reason": dict(intake.refused),
        "last_hour": [{"reason": code, "origin": origin, "requests": number} for code, origin, number in recent],
    }
