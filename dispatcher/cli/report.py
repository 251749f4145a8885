"""``dispatcher report``: events by day and name, and what became of them at each destination, as a table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from dispatcher import config
from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.cli.output.export_summary import export_progress
from dispatcher.cli.output.report_table import print_csv, print_json, print_table
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.find.report import By, make_report
from dispatcher.store.batches import BatchStore

# For each round trip.
_TIMEOUT_SECONDS = 5.0


class _Columns(click.ParamType[tuple[By, ...]]):
    """``day``, ``name``, or both with a comma between."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[By, ...]:
        """The columns. Fails for another word."""
        words = str(value).split(",")
        found: tuple[By, ...] = tuple(known for known in ("day", "name") if known in words)
        if len(found) != len(words):
            self.fail("it must be day, name, or day,name", param, ctx)
        return found


@click.command()
@click.option(
    "--by", type=_Columns(), default="day,name", show_default=True, metavar="COLUMNS", help="day, name or both."
)
@click.option("--since", type=TIMESTAMP, help="Only events that happened at this time, in UTC, or later.")
@click.option("--until", type=TIMESTAMP, help="Only events that happened before this time, in UTC.")
@click.option("--json", "form", flag_value="json", help="Print a JSON object a line.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV, with the names of the columns in its first line.")
def report(by: tuple[By, ...], since: datetime | None, until: datetime | None, form: str | None) -> None:
    """Show how many events of each day and name were accepted, delivered, left out and dead at each destination.

    \b
    Examples:
      dispatcher report --by day,name
      dispatcher report --by day --since 2026-11-01 --csv > november.csv
      dispatcher report --by name --json | jq 'select(.dead > 0)'

    Names and days come from this machine's tracking logs, and what became of each event from the receipts in
    receipts.directory. Each event counts once at a destination, by the last that became of it there. The column open
    has what waits, or has no receipt here. Events without a name are in no log here, such as direct calls to Segment.

    Below the table are the sums, and beside them the ledger's numbers, which count since the ledger began and on all
    hosts. A million events take ten seconds or so, and 200 MB.
    """
    settings = config.load()
    with export_progress() as bar:
        task = bar.add_task("reading logs", total=None)
        found = make_report(
            settings,
            by,
            since=utc(since),
            until=utc(until),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if form == "json":
        print_json(found, by)
    elif form == "csv":
        print_csv(found, by)
    else:
        pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
        ledger = BatchStore(pool).counts(list(settings.served_destinations))
        print_table(found, by, ledger if since is None and until is None else {})
    for problem in found.problems:
        click.echo(f"not looked at: {problem}", err=True)
