"""``dispatcher find``: where events went, at every destination, by their ids or by what is known of them."""

from __future__ import annotations

import sys
from datetime import datetime

import click
import msgspec

from dispatcher import config
from dispatcher.cli.input.times import TIMESTAMP, utc
from dispatcher.cli.main import EXIT_UNAVAILABLE
from dispatcher.cli.output.export_summary import export_progress
from dispatcher.cli.output.found_event import print_found
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import is_id
from dispatcher.find.search import find_events
from dispatcher.find.selection import Description, select_events

# For each round trip.
_TIMEOUT_SECONDS = 5.0


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--user", metavar="USER", help="Events about this user, by id or name. Reads the logs of this machine.")
@click.option("--name", metavar="GLOB", help="Events of this name; * and ? stand for any characters. Reads the logs.")
@click.option("--since", type=TIMESTAMP, help="Of these, only those that happened at this time, in UTC, or later.")
@click.option("--until", type=TIMESTAMP, help="Of these, only those that happened before this time, in UTC.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Of these, the latest.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, with the event and its places.")
def find(
    ids: tuple[str, ...],
    user: str | None,
    name: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show where events went: for each destination whether an event waits and where, was delivered and when, is dead
    and why, or was left out by which entry; and its line in the tracking log.

    \b
    Examples:
      dispatcher find 019e02c4-7a1b-7c3d-8e5f-0123456789ab
      dispatcher find --user 42 --name 'edx.course.*' --since 2026-11-01
      dispatcher find --name shop.order.paid --limit 3 --json | jq -c '.places[]'

    What was delivered is known from receipts, which workers write to receipts.directory: 16 bytes an event and
    destination, without anything of the event but its id. Outboxes, receipts, logs and files of dead letters are those
    of this machine; what could not be looked at is said.

    --user and --name find the events that are in this machine's tracking logs, or are dead letters: no other place
    knows them by that.

    Exit code 1 if one of the events is found nowhere, or none matches; 4 if it may be in Redis, which does not answer.
    """
    if bool(ids) == bool(user or name):
        raise click.UsageError("give the ids of events, or --user or --name")
    if ids and (since or until):
        raise click.UsageError("--since and --until go with --user and --name")
    if not all(is_id(one) for one in ids):
        raise click.UsageError("ID must be the id of an event, such as `dispatcher emit` prints")
    settings = config.load()
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    if not ids:
        wanted = Description(user=user, name=name, since=utc(since), until=utc(until))
        with export_progress() as bar:
            task = bar.add_task("reading logs", total=None)
            selected = select_events(
                settings,
                pool,
                wanted,
                limit=limit,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        ids = tuple(selected.ids)
        for problem in selected.problems:
            click.echo(f"not looked at: {problem}", err=True)
        if selected.more:
            click.echo(f"{selected.more:,} older ones are left out: --limit shows more", err=True)
        if not ids:
            click.echo("no log of this machine and no dead letter has such an event", err=True)
            sys.exit(1)
    found = find_events(settings, pool, list(dict.fromkeys(ids)))
    if as_json:
        for one in found:
            click.echo(msgspec.json.encode(one).decode())
    else:
        print_found(found)
    if all(one["places"] for one in found):
        sys.exit(0)
    sys.exit(1 if found[0]["redis_answers"] else EXIT_UNAVAILABLE)
