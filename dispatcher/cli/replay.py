"""``dispatcher replay``: send events of a tracking log again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import Progress, TaskID

from dispatcher import config
from dispatcher.cli.input.rate import RATE
from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.cli.output.file_progress import file_progress
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.destinations.options import max_age_seconds
from dispatcher.monitoring.units import count_text
from dispatcher.outcomes import FORGOTTEN, TOO_OLD
from dispatcher.replay import Filter, LineError, Replay, ReplayTotals, Source
from dispatcher.store.operator_note import note_command

# Lines whose errors are printed; further ones are only counted.
_MAX_LINE_ERRORS: Final = 20
# Event names that a dry run lists.
_MAX_NAMES: Final = 20
# Seconds for one answer of Redis.
_TIMEOUT_SECONDS: Final = 5.0


@click.command()
@click.option(
    "--from",
    "sources",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path),
    help="A tracking log, which may be compressed with gzip or zstd; - is standard input. May be given several times.",
)
@click.option("--to", "destination", required=True, help="The destination, by its name in the settings.")
@click.option("--since", type=TIMESTAMP, help="Only events at this time, in UTC, or later.")
@click.option("--until", type=TIMESTAMP, help="Only events before this time, in UTC.")
@click.option("--events", multiple=True, metavar="GLOB", help="Only these names; * ? and ! as in an allowlist.")
@click.option("--all", "everything", is_flag=True, help="Also events that the destination's allowlist does not name.")
@click.option("--any-age", is_flag=True, help="Also events that are older than the destination's vendor takes.")
@RATE
@click.option(
    "--most-waiting",
    type=click.IntRange(0),
    default=100_000,
    show_default=True,
    help="Pause while more events than that wait for the destination.",
)
@click.option("--run", default="", metavar="NAME", help="A new name sends events again that an earlier run has sent.")
@click.option("--yes", is_flag=True, help="Do not ask about lines without ids.")
@click.option("--dry-run", is_flag=True, help="Only count events, as if none had been replayed before. Needs no Redis.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def replay(
    sources: tuple[Path, ...],
    destination: str,
    since: datetime | None,
    until: datetime | None,
    events: tuple[str, ...],
    everything: bool,
    any_age: bool,
    rate: float,
    most_waiting: int,
    run: str,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send events of a tracking log to a destination again, such as those that its allowlist names only now.

    They keep their times, and their ids if the log has them, as it has unless ids = false. Of a line without, the
    event gets an id that is made of the line and is the same in every replay, but that no destination knows: this wants
    --yes. Events that are older than the vendor takes (72 h for Google Analytics) are left out and counted.
    An interrupted replay continues if you run it again in the same way within 30 days.

    \b
    Examples:
      dispatcher replay --from tracking.log --to segment --events "edx.course.*" --dry-run
      dispatcher replay --from tracking.log --to segment --events "edx.course.*" --since 2026-01-31
      dispatcher replay --from tracking.log-20260131.gz --from tracking.log --to segment
      zcat old/*.gz | dispatcher replay --from - --to segment --rate 200 --yes

    Exit code 0 if all lines could be read, 1 if some could not.
    """
    progress = file_progress()
    may_ask = not yes and sys.stdin.isatty() and not any(str(path) == "-" for path in sources)
    settings = config.load()
    wanted = Filter(
        events=events,
        since=utc(since),
        until=utc(until),
        unlisted=everything,
        max_age_seconds=None if any_age else max_age_seconds(settings, destination),
    )
    process = Replay(
        settings,
        destination,
        wanted,
        rate=rate,
        max_waiting=most_waiting,
        run=run,
        confirm_new_ids=None if yes else lambda place: _confirm_new_ids(place, destination, progress, may_ask=may_ask),
    )
    try:
        with progress:
            _replay(process, [Source(path) for path in sources], progress, dry_run=dry_run)
    finally:
        process.close()
    totals = process.totals
    if totals.put and not dry_run:
        pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
        note_command(pool, destination, f"replay: {count_text(totals.put, 'event')}")
    if as_json:
        click.echo(json.dumps(_as_json(totals)))
    else:
        _print(totals, destination, dry_run=dry_run)
    raise SystemExit(1 if totals.unreadable else 0)


def _confirm_new_ids(place: str, destination: str, progress: Progress, *, may_ask: bool) -> None:
    """Have the user agree that events get new ids. Ends the command otherwise."""
    message = (
        f"{place}: the line does not hold its event's id (context.event_id), so the event gets a new one. If "
        f"{destination} has had the event before, it counts it twice: Segment tells repeats by their ids alone. Choose "
        "what it did not have by --events, --since and --until"
    )
    if not may_ask:
        raise click.UsageError(f"{message}; then add --yes. Nothing from this line on was sent")
    progress.stop()
    click.confirm(f"{message}. Send events with new ids?", abort=True, err=True)
    progress.start()


def _replay(process: Replay, sources: list[Source], progress: Progress, *, dry_run: bool) -> None:
    sizes = [source.size for source in sources]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    task = progress.add_task("counting" if dry_run else "replaying", total=total, events=0)
    done = 0
    for source, size in zip(sources, sizes, strict=True):
        errors = process.count(source) if dry_run else process.run(source)
        _follow(errors, process, source, progress, task, done)
        done += size or 0


def _follow(
    errors: Iterator[LineError | None],
    process: Replay,
    source: Source,
    progress: Progress,
    task: TaskID,
    before: int,
) -> None:
    for error in errors:
        if error is not None and process.totals.unreadable <= _MAX_LINE_ERRORS:
            progress.console.print(str(error), markup=False, highlight=False, soft_wrap=True)
        progress.update(task, completed=before + source.consumed, events=process.totals.chosen)


def _as_json(totals: ReplayTotals) -> dict[str, Any]:
    return {
        "lines": totals.lines,
        "chosen": totals.chosen,
        "put": totals.put,
        "without_ids": totals.without_ids,
        FORGOTTEN: totals.forgotten,
        TOO_OLD: totals.too_old,
        "unreadable": totals.unreadable,
        "earlier_bytes": totals.earlier_bytes,
        "by_name": dict(totals.by_name.most_common()),
    }


def _print(totals: ReplayTotals, destination: str, *, dry_run: bool) -> None:
    if dry_run:
        click.echo(f"would be sent to {destination}: {totals.chosen:,} of {count_text(totals.lines, 'line')}")
        for name, count in totals.by_name.most_common(_MAX_NAMES):
            click.echo(f"{count:>12,}  {name}")
        if len(totals.by_name) > _MAX_NAMES:
            click.echo(f"{'':>12}  and {len(totals.by_name) - _MAX_NAMES:,} other names")
    else:
        earlier = f"; {totals.earlier_bytes:,} bytes were replayed before" if totals.earlier_bytes else ""
        click.echo(f"on the way to {destination}: {totals.put:,} of {count_text(totals.lines, 'line')}{earlier}")
    if totals.without_ids:
        click.echo(
            f"{totals.without_ids:,} of these lines do not hold their events' ids: what {destination} has had before, "
            "it takes for new",
            err=True,
        )
    if totals.forgotten:
        click.echo(f"left out: {count_text(totals.forgotten, 'event')} of people who were forgotten", err=True)
    if totals.too_old:
        left_out = f"left out: {count_text(totals.too_old, 'event')}, older than the vendor of {destination} takes"
        click.echo(f"{left_out}; --any-age sends them all the same", err=True)
    if totals.unreadable:
        click.echo(f"could not be read: {count_text(totals.unreadable, 'line')}", err=True)
