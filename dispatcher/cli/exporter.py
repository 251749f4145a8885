"""``dispatcher exporter``: the ledger for Prometheus."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

import click

from dispatcher import config
from dispatcher.cli.output.server import serve_until_stopped
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command
from dispatcher.monitoring.snapshot import Observer
from dispatcher.secrecy.log_lines import log_to_stderr

#: The port in docker/prometheus.
DEFAULT_PORT: Final = 9450
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
def exporter(address: str, port: int, max_age: float) -> None:
    """Serve the ledger as /metrics for Prometheus until SIGTERM or Ctrl-C.

    Run one on each machine that emits: it sees the outboxes of its machine, and the whole batch store. It asks for no
    login: it shows destinations, reasons and numbers, and no part of any event. /-/healthy says that it runs. While
    Redis is away it goes on, with dispatcher_up 0.

    \b
    Examples:
      dispatcher exporter
      dispatcher exporter --address 0.0.0.0 --port 9450
      curl -s localhost:9450/metrics | grep dead_letters
    """
    if not is_installed():
        raise click.ClickException(f"the exporter is not installed: {install_command('metrics')}")
    from dispatcher.monitoring.exporter import Exporter  # noqa: PLC0415 - it needs the extra

    log_to_stderr()

    def make() -> Exporter:
        settings = config.load()
        observer = Observer(settings, RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS))
        return Exporter(observer.take_snapshot, address=address, port=port, max_age_seconds=max_age)

    serve_until_stopped(
        make,
        explain=lambda error: (
            f"cannot listen on {address}:{port}: {error.strerror}; choose another --address or --port"
        ),
    )
