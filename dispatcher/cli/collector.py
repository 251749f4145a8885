"""``dispatcher collector``: takes events over HTTP."""

from __future__ import annotations

import signal
import threading
from importlib.util import find_spec
from typing import Any

import click

from dispatcher import config
from dispatcher.errors import SettingsError
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command
from dispatcher.local.supervisor import Child, Supervisor
from dispatcher.secrecy.log_lines import log_to_stderr


def is_installed() -> bool:
    """Whether the extra ``collector`` is installed."""
    return all(find_spec(name) is not None for name in ("uvicorn", "httptools", "uvloop"))


@click.group(invoke_without_command=True)
@click.option("--host", help="Where to listen [collector.host].")
@click.option("--port", type=click.IntRange(0, 65535), help="Where to listen; 0: any free port [collector.port].")
@click.option("--durability", type=click.Choice(["process", "disk"]), help="What 200 means [collector.durability].")
@click.option("--processes", type=click.IntRange(1, 256), help="Processes that share the port [collector.processes].")
@click.option("--shared", is_flag=True, hidden=True, help="One of several processes: bind the port beside others.")
@click.pass_context
def collector(
    ctx: click.Context, host: str | None, port: int | None, durability: str | None, processes: int | None, shared: bool
) -> None:
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
    given = {"host": host, "port": port, "durability": durability, "processes": processes}
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
        listener = server.listen(settings, is_shared=shared or settings.collector.processes > 1)
    except OSError as error:
        table = settings.collector
        raise click.ClickException(
            f"cannot listen on {table.host}:{table.port}: {error.strerror}; choose another --host or --port"
        ) from error
    address, bound = listener.getsockname()[:2]
    if shared:
        server.serve(settings, listener)
        return
    click.echo(f"http://{f'[{address}]' if ':' in address else address}:{bound}")
    if settings.collector.processes == 1:
        server.serve(settings, listener)
        return
    # It is bound here for as long as the others run, so that nobody else takes the port; it never listens.
    arguments = ["--host", settings.collector.host, "--port", str(bound), "--durability", settings.collector.durability]
    _run_processes(collector_arguments("--shared", *arguments), settings.collector.processes)
    listener.close()


def collector_arguments(*arguments: str) -> list[str]:
    """The command line of a collector."""
    return launch.command("dispatcher", "collector", *arguments)


def _run_processes(command: list[str], count: int) -> None:
    """Keep so many processes running until SIGTERM or Ctrl-C, and end them in order."""
    stopped = threading.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: stopped.set())
    supervisor = Supervisor(lambda name, line: click.echo(f"{name}: {line}", err=True))
    try:
        for number in range(count):
            supervisor.start(Child(f"collector {number + 1}", command))
        while not stopped.wait(0.25):
            supervisor.restart_ended()
    finally:
        supervisor.stop()


@collector.command()
@click.argument("source")
@click.option("--base", default="", help="The collector's address, where the page's own is another.")
@click.option("--logger", is_flag=True, help="With Logger.log on top of it, for scripts of Open edX.")
def snippet(source: str, base: str, logger: bool) -> None:
    """Print the lines for a page's head that load the browser's client, for one SOURCE of the settings.

    \b
    Examples:
      dispatcher collector snippet web
      dispatcher collector snippet web --base https://events.example.org --logger
    """
    from dispatcher.collector.client import files  # noqa: PLC0415 - it reads the files

    settings = config.load()
    table = settings.sources.get(source)
    if table is None:
        known = ", ".join(settings.sources) or "none"
        raise click.BadParameter(f"it is not a source of the settings; known: {known}", param_hint="SOURCE")
    paths = settings.collector
    # The last key, which is the new one while two are known.
    lines = files.snippet(
        table.write_key[-1],
        base=base.rstrip("/"),
        script_name=paths.script_name,
        events_path=paths.events_path,
        logger=logger,
    )
    click.echo(lines, nl=False)
