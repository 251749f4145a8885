"""``dispatcher retention``: delete what is older than it may get."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
import msgspec

from dispatcher import config
from dispatcher.forgetting.retention import delete, find_aged
from dispatcher.monitoring.units import count_text


@click.command()
@click.option("--do", is_flag=True, help="Delete. Without it, nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="Print what was found, or deleted, as JSON.")
def retention(do: bool, as_json: bool) -> None:
    """Show what is older than [retention] says: rotated logs, days of exports, dead letters; with --do, delete it.

    Whole files and whole days, by the times of the events in them: a file stays until its newest event is old enough.
    The log that is written to is never touched. What a legal hold of retention.holds covers stays.

    \b
    Examples:
      dispatcher retention
      dispatcher retention --do

    Exit code 0 if all that is too old is, or can be, deleted, 1 if the age of something is unknown, or it cannot go.
    """
    settings = config.load()
    found = list(find_aged(settings, datetime.now(UTC).date()))
    if do:
        found = [one if one.left else delete(one) for one in found]
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        for one in found:
            what = f"stays: {one.left}" if one.left else "deleted" if do else "is to be deleted"
            days = f" ({one.oldest} to {one.newest})" if one.newest else ""
            click.echo(f"{one.path}{days}: {what}")
        gone = sum(not one.left for one in found)
        click.echo(f"{count_text(gone, 'file or day', 'files and days')} {'deleted' if do else 'to be deleted'}")
    raise SystemExit(1 if any(one.left and not one.left.startswith("the legal hold") for one in found) else 0)
