"""``dispatcher tail``: events as they come and what becomes of them, as lines of text."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any, Final

import click
import msgspec

from dispatcher import config
from dispatcher.cli.output.live_lines import LiveLines
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import SettingsError, StoreUnavailableError
from dispatcher.live.lease import Lease
from dispatcher.live.viewer import Viewer, refusal

# For each round trip.
_TIMEOUT_SECONDS: Final = 2.0
# Seconds between two looks.
_EVERY_SECONDS: Final = 0.1
# Seconds between two sentences on how many are left out.
_SAY_SECONDS: Final = 5.0

_decode: Final = msgspec.json.Decoder(list[dict[str, Any]]).decode


@click.command()
@click.option("--name", default="", metavar="GLOB", help="Only events of this name; * and ? stand for any characters.")
@click.option(
    "--destination", default="", metavar="NAME", help="Only what goes to this destination, or is kept from it."
)
@click.option("--user", default="", metavar="USER", help="Only events about this user: an id or a name.")
@click.option("--id", "event_id", default="", metavar="ID", help="Only the event with this id.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, with the event and its requests.")
@click.option("--debug", is_flag=True, help="Look where debug is off for this command [debug].")
def tail(name: str, destination: str, user: str, event_id: str, as_json: bool, debug: bool) -> None:
    """Show events as they come, and what becomes of each at every destination, until Ctrl-C.

    One line for each event, with where it goes and why not elsewhere; and one for each delivery, with its outcome. The
    board's live page shows the same, with the requests.

    \b
    Examples:
      dispatcher tail
      dispatcher tail --name 'edx.course.*' --destination segment
      dispatcher tail --user 7 --json | jq 'select(.kind == "delivery") | {id, destination, outcome}'

    It begins a second after it is started, and shows at most 200 events a second: of more, a part of them with all
    their deliveries, and says how large a part.

    In development nothing has to be set. Elsewhere relays and workers show nothing until they run with
    DISPATCHER_DEBUG=true; this command needs it too, or --debug. Events hold what they say of people.
    """
    settings = config.load(overrides={"debug": True} if debug else None)
    if (why := refusal(settings)) is not None:
        raise SettingsError([f"debug: {why}"])
    if destination and destination not in settings.destinations:
        known = ", ".join(settings.destinations) or "none"
        raise click.BadParameter(f"it is not configured; configured are: {known}", param_hint="--destination")
    viewer = Viewer(
        RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS),
        Lease(id="", name=name, destination=destination, user=user, event_id=event_id),
    )
    # Ctrl-C, which what a shell starts in the background ignores at first; and what stops it in a script.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        viewer.open()
        click.echo("looking; Ctrl-C ends it", err=True)
        _follow(viewer, as_json=as_json)
    except KeyboardInterrupt:
        return
    finally:
        _close(viewer)


def _follow(viewer: Viewer, *, as_json: bool) -> None:
    lines = LiveLines()
    said_at = time.monotonic()
    is_away = False
    while True:
        try:
            seen = viewer.read()
        except StoreUnavailableError as error:
            if not is_away:
                click.echo(f"{error}; trying again", err=True)
            is_away = True
            time.sleep(1)
            continue
        is_away = False
        for item in _decode(b"[%b]" % seen.items):
            if as_json:
                click.echo(msgspec.json.encode(item).decode())
            elif item:
                lines.print(item)
        sys.stdout.flush()
        if seen.shown_per_second < seen.per_second and time.monotonic() - said_at >= _SAY_SECONDS:
            said_at = time.monotonic()
            click.echo(f"showing {seen.shown_per_second:,.0f} of {seen.per_second:,.0f} events a second", err=True)
        time.sleep(_EVERY_SECONDS)


def _close(viewer: Viewer) -> None:
    try:
        viewer.close()
    except StoreUnavailableError:
        return  # the lease runs out by itself
