"""Exporter: a small HTTP server with /metrics for Prometheus. It asks for no login: it shows names and numbers only."""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dispatcher.monitoring.definition import Definition
from dispatcher.monitoring.latest_snapshot import LatestSnapshot
from dispatcher.monitoring.metrics import DEFINITIONS

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

logger = logging.getLogger(__name__)

_PAGES: Final = {
    "/": b"dispatcher exporter: /metrics, /-/healthy\n",
    # Whether the exporter itself is well. A Redis that is away is a metric, and no reason to restart this.
    "/-/healthy": b"ok\n",
}
# Seconds between two looks whether to stop, where the system does not say so at once.
_POLL_SECONDS: Final = 1.0


class Exporter:
    """Answers ``/metrics`` and ``/-/healthy`` from threads of its own.

    Args:
        latest: Gives the snapshot of a scrape; may block.
        address: Where to listen.
        port: Where to listen; 0 finds a free one.
    """

    def __init__(self, latest: LatestSnapshot, *, address: str = "127.0.0.1", port: int = 0) -> None:
        registry = CollectorRegistry()
        registry.register(SnapshotCollector(latest))
        self._address = address
        self._port = port
        self._app = _with_pages(make_wsgi_app(registry))
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen. Returns at once. Raises OSError if the address or port cannot be had."""
        self._server = _Server((self._address, self._port), _Handler)
        self._server.set_app(self._app)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": _POLL_SECONDS},
            name="dispatcher-exporter",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; a scrape under way is cut off when the process ends. May be called twice."""
        if self._server is None or self._thread is None:
            return
        with suppress(OSError):
            # Wakes the thread, on Linux. Otherwise it looks once a second, so that an exporter at rest sleeps.
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """The address of the metrics. Raises RuntimeError before ``start``."""
        if self._server is None:
            raise RuntimeError("this exporter is not running: call start() first")
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{self._server.server_address[1]}/metrics"


class SnapshotCollector(Collector):
    """Gives Prometheus' client the metrics of a snapshot. Safe in threads.

    Args:
        latest: Gives the snapshot; may block.
    """

    def __init__(self, latest: LatestSnapshot) -> None:
        self._latest = latest

    def describe(self) -> Iterator[Metric]:
        """The metrics without their values, so that registering this takes no snapshot."""
        return (_family(definition) for definition in DEFINITIONS)

    def collect(self) -> Iterator[Metric]:
        """The metrics with their values. May block for a snapshot."""
        snapshot = self._latest.get()
        for definition in DEFINITIONS:
            family = _family(definition)
            for labels, value in definition.samples(snapshot):
                family.add_metric(labels, value)
            yield family


def _family(definition: Definition) -> CounterMetricFamily | GaugeMetricFamily:
    family = CounterMetricFamily if definition.type == "counter" else GaugeMetricFamily
    return family(definition.name, definition.help, labels=definition.labels)


def _with_pages(metrics: WSGIApplication) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            return metrics(environ, start_response)
        body = _PAGES.get(path)
        start_response("404 Not Found" if body is None else "200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"only /metrics and /-/healthy are here\n" if body is None else body]

    return app


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # A scrape that waits for a silent Redis must not keep the process from ending.
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def server_bind(self) -> None:
        # Not HTTPServer's own, which asks DNS for this machine's name before it listens.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "dispatcher", self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Peers hang up all the time; any other error is a fault of this server.
        if not isinstance(sys.exc_info()[1], OSError):
            logger.exception("a scrape failed")


class _Handler(WSGIRequestHandler):
    # Seconds for a peer to send its request.
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: scrapes come all the time."""
