"""``dispatcher collector``: takes events over HTTP."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import click

from dispatcher import config
from dispatcher.errors import SettingsError
from dispatcher.installation.extras import install_command
from dispatcher.secrecy.log_lines import log_to_stderr


def is_installed() -> bool:
    """Whether the extra ``collector`` is installed."""
    return all(find_spec(name) is not None for name in ("uvicorn", "httptools", "uvloop"))


@click.group(invoke_without_command=True)
@click.option("--host", help="Where to listen [collector.host].")
@click.option("--port", type=click.IntRange(0, 65535), help="Where to listen; 0: any free port [collector.port].")
@click.option("--durability", type=click.Choice(["process", "disk"]), help="What 200 means [collector.durability].")
@click.pass_context
def collector(ctx: click.Context, host: str | None, port: int | None, durability: str | None) -> None:
    """Take events from browsers, apps and servers over HTTP until SIGTERM or Ctrl-C.

    It speaks Segment's HTTP Tracking API, the form of tracker.js, which it serves, and that of edX's pages. Each sender
    is a source, with a key: a table [sources.NAME] of the settings. An event that was answered with 200 is in the
    outbox, and survives the collector; with --durability disk a loss of power too.

    /healthz says that it runs, /readyz that it wants requests, /metrics what came in by source, and what was refused
    with which reason.

    \b
    Examples:
      dispatcher collector
      dispatcher collector --host 0.0.0.0 --port 8090
      DISPATCHER_SOURCES='{"web": {"write_key": "k1"}}' dispatcher collector
    """
    if ctx.invoked_subcommand is not None:
        return
    if not is_installed():
        raise click.ClickException(f"the collector is not installed: {install_command('collector')}")
    from dispatcher.collector import server  # noqa: PLC0415 - it needs the extra

    log_to_stderr()
    given = {"host": host, "port": port, "durability": durability}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = config.load(overrides={"collector": changed} if changed else None)
    if not settings.sources:
        raise SettingsError(
            [
                "sources: the collector knows no source, and would refuse everybody: add a table [sources.web] with "
                'a write_key, or set DISPATCHER_SOURCES=\'{"web": {"write_key": "…"}}\''
            ]
        )
    try:
        listener = server.listen(settings)
    except OSError as error:
        table = settings.collector
        raise click.ClickException(
            f"cannot listen on {table.host}:{table.port}: {error.strerror}; choose another --host or --port"
        ) from error
    address, bound = listener.getsockname()[:2]
    click.echo(f"http://{f'[{address}]' if ':' in address else address}:{bound}")
    server.serve(settings, listener)
