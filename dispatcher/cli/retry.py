"""``dispatcher retry``: try again now, rather than when the breaker and the pauses between tries let it."""

from __future__ import annotations

import click

from dispatcher.cli.input.destinations import connect_for
from dispatcher.cli.pause import clock_text
from dispatcher.monitoring.units import count_text
from dispatcher.secrecy.safe_text import one_line
from dispatcher.store.levers import Levers
from dispatcher.store.operator_note import note_command


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--now", "at_once", is_flag=True, help="Also if the destination has asked for more time, as with 429.")
def retry(names: tuple[str, ...], at_once: bool) -> None:
    """Try everything again that waits for the destination NAME. Several names may be given.

    Use it once the cause is mended: the breaker is closed, and what is parked comes due at once instead of after its
    pause. Workers take it within a second or two. What a worker is delivering is left to it, so nothing is sent twice
    because of this. If the destination fails again, the breaker opens again.

    Exit code 1 if one of them is paused, or has asked to be left alone and --now was not given: nothing was changed
    there.

    \b
    Examples:
      dispatcher retry segment
      dispatcher retry segment webhook --now
    """
    pool = connect_for(names)
    levers = Levers(pool)
    refused = False
    for name in names:
        found = levers.retry(name, at_once=at_once)
        until = "" if found.until_ms is None else f" until {clock_text(found.until_ms)}"
        why = f" ({one_line(found.reason)})" if found.reason else ""
        if found.outcome == "paused":
            click.echo(f"{name} is paused{until}{why}: `dispatcher resume {name}` first", err=True)
        elif found.outcome == "throttled":
            click.echo(f"{name} asks to be left alone{until}{why}: --now tries it all the same", err=True)
        else:
            closed = "the breaker is closed, and " if found.breaker_was_open else ""
            number = count_text(found.batches, "batch", "batches")
            note_command(pool, name, f"retry: {number}")
            now = f"{number} {'is' if found.batches == 1 else 'are'} due now instead of later"
            click.echo(f"{name}: {closed}{now if found.batches else 'what waits is due already'}")
        refused = refused or found.outcome != "retried"
    raise SystemExit(1 if refused else 0)
