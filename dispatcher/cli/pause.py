"""``dispatcher pause`` and ``dispatcher resume``: have a destination left alone for a while."""

from __future__ import annotations

from datetime import datetime

import click

from dispatcher.cli.input.destinations import connect_for
from dispatcher.cli.input.times import Duration
from dispatcher.store.levers import Levers
from dispatcher.store.operator_note import note_command


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--for", "seconds", type=Duration(), help="End the pause by itself after 90s, 30m, 2h or 1d.")
@click.option("--reason", default="", help="Why, for those who look at the status: no name of a person.")
def pause(names: tuple[str, ...], seconds: float | None, reason: str) -> None:
    """Deliver nothing more to the destination NAME until it is resumed. Several names may be given.

    What a worker is delivering at this moment ends as it would. Events go on being accepted, and wait in Redis: watch
    its memory if the pause is long. All other destinations go on. The pause holds for all workers, on every machine and
    through restarts; `dispatcher status` and `dispatcher doctor` show it. Pages that ask a second later get no events
    of a paused destination either. To pause again sets another end and reason.

    \b
    Examples:
      dispatcher pause segment
      dispatcher pause segment webhook --for 30m --reason "the receiver is being moved"
      dispatcher resume segment
    """
    pool = connect_for(names)
    levers = Levers(pool)
    for name in names:
        until_ms = levers.pause(name, seconds=seconds, reason=reason)
        end = "it is resumed" if until_ms is None else clock_text(until_ms)
        note_command(pool, name, f"pause: until {end}")
        click.echo(f"{name} is paused until {end}; its events wait")


@click.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def resume(names: tuple[str, ...]) -> None:
    """End the pause of the destination NAME: workers deliver what has waited. Several names may be given.

    Exit code 1 if one of them was not paused.

    \b
    Example:
      dispatcher resume segment
    """
    pool = connect_for(names)
    levers = Levers(pool)
    were_paused = True
    for name in names:
        was_paused = levers.resume(name)
        if was_paused:
            note_command(pool, name, "resume")
        were_paused = were_paused and was_paused
        click.echo(f"{name} is resumed; workers deliver what waits" if was_paused else f"{name} was not paused")
    raise SystemExit(0 if were_paused else 1)


def clock_text(timestamp_ms: int) -> str:
    """A time in milliseconds since 1970 as this machine's clock shows it, with the date: for what people read."""
    return datetime.fromtimestamp(timestamp_ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
