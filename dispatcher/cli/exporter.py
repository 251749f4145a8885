"""``dispatcher exporter``: the ledger for Prometheus, and over OTLP."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from typing import Final

import click

from dispatcher import config
from dispatcher.cli.output.server import Server, Servers, serve_until_stopped
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command
from dispatcher.monitoring.latest_snapshot import LatestSnapshot
from dispatcher.monitoring.otel.metrics_pusher import MetricsPusher
from dispatcher.monitoring.otel.variables import OtelVariables, read_otel
from dispatcher.monitoring.snapshot import Observer
from dispatcher.secrecy.log_lines import log_to_stderr

#: The port in docker/prometheus.
DEFAULT_PORT: Final = 9450
logger = logging.getLogger(__name__)

# For each of the three round trips of a snapshot: together less than ten seconds, for which Prometheus waits.
_TIMEOUT_SECONDS: Final = 2.0


def exporter_arguments(*, address: str, port: int) -> list[str]:
    """The command line of an exporter."""
    return launch.command("dispatcher", "exporter", "--address", address, "--port", str(port))


def is_installed() -> bool:
    """Whether the extra ``metrics`` is installed."""
    return find_spec("prometheus_client") is not None


@click.command()
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Where to listen; 0: any free port.",
)
@click.option(
    "--max-age",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="How many seconds old a snapshot may be: two scrapes within this time cost one snapshot.",
)
@click.option("--push-only", is_flag=True, help="Listen nowhere, and push over OTLP alone; needs no extra.")
def exporter(address: str, port: int, max_age: float, push_only: bool) -> None:
    """Serve the ledger as /metrics for Prometheus until SIGTERM or Ctrl-C, and push it over OTLP where that is set.

    Run one on each machine that emits: it sees the outboxes of its machine, and the whole batch store. It asks for no
    login: it shows destinations, reasons and numbers, and no part of any event. /-/healthy says that it runs. While
    Redis is away it goes on, with dispatcher_up 0.

    With OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, the same metrics are pushed there in each
    OTEL_METRIC_EXPORT_INTERVAL, as JSON over HTTP.

    \b
    Examples:
      dispatcher exporter
      dispatcher exporter --address 0.0.0.0 --port 9450
      curl -s localhost:9450/metrics | grep dead_letters
      OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 dispatcher exporter --push-only
    """
    variables = read_otel(os.environ)
    if push_only and variables.metrics is None:
        why = next(iter(variables.problems), "OTEL_EXPORTER_OTLP_ENDPOINT is not set, or metrics are switched off")
        raise click.UsageError(f"--push-only has nowhere to push to: {why}")
    if not push_only and not is_installed():
        raise click.ClickException(f"the exporter is not installed: {install_command('metrics')}")
    log_to_stderr()
    for problem in variables.problems:
        logger.warning("%s", problem)
    serve_until_stopped(
        lambda: _make(variables, max_age=max_age, listen=None if push_only else (address, port)),
        explain=lambda error: (
            f"cannot listen on {address}:{port}: {error.strerror}; choose another --address or --port"
        ),
    )


def _make(variables: OtelVariables, *, max_age: float, listen: tuple[str, int] | None) -> Server:
    settings = config.load()
    observer = Observer(settings, RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS))
    latest = LatestSnapshot(observer.take_snapshot, max_age_seconds=max_age)
    servers: list[Server] = []
    if listen is not None:
        from dispatcher.monitoring.exporter import Exporter  # noqa: PLC0415 - it needs the extra

        servers.append(Exporter(latest, address=listen[0], port=listen[1]))
    if variables.metrics is not None:
        servers.append(MetricsPusher(latest, variables))
    return Servers(servers)
