"""``dispatcher collector``: takes events over HTTP."""

from __future__ import annotations

import signal
import socket
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from dispatcher import config
from dispatcher.connections.urls import http_url
from dispatcher.errors import SettingsError
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command
from dispatcher.local.supervisor import GRACE_SECONDS, Child, Supervisor
from dispatcher.secrecy.log_lines import log_to_stderr

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.config.collector import CollectorSettings


def is_installed() -> bool:
    """Whether the extra ``collector`` is installed."""
    return all(find_spec(name) is not None for name in ("uvicorn", "httptools", "uvloop"))


@click.group(invoke_without_command=True)
@click.option("--host", help="Where to listen [collector.host].")
@click.option("--port", type=click.IntRange(0, 65535), help="Where to listen; 0: any free port [collector.port].")
@click.option("--durability", type=click.Choice(["process", "disk"]), help="What 200 means [collector.durability].")
@click.option("--processes", type=click.IntRange(1, 256), help="Processes that share the port [collector.processes].")
@click.option("--shared", is_flag=True, hidden=True, help="One of several processes: bind the port beside others.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Where /metrics is [collector.metrics_port].")
@click.pass_context
def collector(
    ctx: click.Context,
    host: str | None,
    port: int | None,
    durability: str | None,
    processes: int | None,
    shared: bool,
    metrics_port: int | None,
) -> None:
    """Take events from browsers, apps and servers over HTTP until SIGTERM or Ctrl-C.

    It speaks Segment's HTTP Tracking API, the form of tracker.js, which it serves, and that of edX's pages. Each sender
    is a source, with a key: a table [sources.NAME] of the settings. An event that was answered with 200 is in the
    outbox, and survives the collector; with --durability disk a loss of power too.

    /healthz says that it runs, /readyz that it wants requests. /metrics, on a port of its own that only this machine
    reaches by default, says what all processes took by source, and refused with which reason.

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
    given = {
        "host": host,
        "port": port,
        "durability": durability,
        "processes": processes,
        "metrics_port": metrics_port,
    }
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    settings = config.load(overrides={"collector": changed} if changed else None)
    if not settings.sources:
        raise SettingsError(
            [
                "sources: the collector knows no source, and would refuse everybody: add a table [sources.web] with "
                'a write_key, or set DISPATCHER_SOURCES=\'{"web": {"write_key": "…"}}\''
            ]
        )
    is_shared = shared or settings.collector.processes > 1
    try:
        listener = server.listen(settings, is_shared=is_shared)
    except OSError as error:
        table = settings.collector
        raise click.ClickException(
            f"cannot listen on {table.host}:{table.port}: {error.strerror}; choose another --host or --port"
        ) from error
    bound = listener.getsockname()[1]
    if not shared:
        click.echo(_url(listener))
    metrics = None
    try:
        metrics = server.listen_for_metrics(settings, bound, is_shared=is_shared)
        if not shared:
            click.echo(f"metrics: {_url(metrics)}/metrics")
    except OSError as error:
        # What it is for goes on without them.
        click.echo(f"metrics are not served: {error.strerror}; set collector.metrics_port to another port", err=True)
    if shared or settings.collector.processes == 1:
        server.serve(settings, listener, metrics)
        return
    # It is bound here for as long as the others run, so that nobody else takes the port; it never listens.
    arguments = ["--host", settings.collector.host, "--port", str(bound), "--durability", settings.collector.durability]
    if metrics is not None:
        arguments += ["--metrics-port", str(metrics.getsockname()[1])]
    _run_processes(collector_arguments("--shared", *arguments), settings)
    listener.close()


def _url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return http_url(address, port)


def collector_arguments(*arguments: str) -> list[str]:
    """The command line of a collector."""
    return launch.command("dispatcher", "collector", *arguments)


def child(name: str, command: list[str], table: CollectorSettings) -> Child:
    """A collector that is to be kept running, with the time that it may take to end.

    Args:
        name: As of ``Child``.
        command: Of ``collector_arguments``.
        table: Its settings.
    """
    return Child(name, command, grace_seconds=GRACE_SECONDS + table.drain_seconds)


def _run_processes(command: list[str], settings: Settings) -> None:
    """Keep the processes running until SIGTERM or Ctrl-C. They drain at the same time, so that no new one is chosen."""
    stopped = threading.Event()
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: stopped.set())
    supervisor = Supervisor(lambda name, line: click.echo(f"{name}: {line}", err=True))
    try:
        for number in range(settings.collector.processes):
            supervisor.start(child(f"collector {number + 1}", command, settings.collector))
        while not stopped.wait(0.25):
            supervisor.restart_ended()
    finally:
        supervisor.stop(together=True)


@collector.command()
@click.argument("source")
@click.option("--base", default="", help="The collector's address, where the page's own is another.")
@click.option("--logger", is_flag=True, help="With Logger.log on top of it, for scripts of Open edX.")
@click.option("--handover", is_flag=True, help="With handover.js, for destinations that take events from pages.")
def snippet(source: str, base: str, logger: bool, handover: bool) -> None:
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
        handover=handover,
    )
    click.echo(lines, nl=False)
