"""Exporter: a small HTTP server with /metrics for Prometheus. It needs no login, and shows names and numbers only."""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from dispatcher.monitoring.metrics import DEFINITIONS, Definition

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from dispatcher.monitoring.snapshot import Overview

logger = logging.getLogger(__name__)

_PAGES: Final = {
    "/": b"dispatcher exporter: /metrics, /-/healthy\n",
    # Whether the exporter itself is well. Redis being away is a metric, and no reason to start this again.
    "/-/healthy": b"ok\n",
}


class Exporter:
    """Answers ``/metrics`` and ``/-/healthy`` from threads of its own.

    Args:
        look: Takes an overview; called by one thread at a time, when a scrape finds the last one too old.
        address: Where to listen.
        port: 0 finds a free one.
        max_age_seconds: For so long a look answers every scrape.
    """

    def __init__(
        self, look: Callable[[], Overview], *, address: str = "127.0.0.1", port: int = 0, max_age_seconds: float = 10.0
    ) -> None:
        registry = CollectorRegistry()
        registry.register(OverviewCollector(look, max_age_seconds=max_age_seconds))
        self._address = address
        self._port = port
        self._app = _routed(make_wsgi_app(registry))
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen. Raises OSError where the address or port cannot be had."""
        self._server = _Server((self._address, self._port), _Handler)
        self._server.set_app(self._app)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="dispatcher-exporter", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop listening. May be called twice."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = self._thread = None

    @property
    def url(self) -> str:
        """Where the metrics are."""
        if self._server is None:
            raise RuntimeError("this exporter is not running: call start() first")
        host = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{host}:{self._server.server_address[1]}/metrics"


class OverviewCollector(Collector):
    """Looks when it is asked, at most once in ``max_age_seconds``, whoever asks. Safe in threads.

    Args:
        look: Takes an overview; may block, and is called by one thread at a time.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        look: Callable[[], Overview],
        *,
        max_age_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._max_age = max_age_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._latest: tuple[float, Overview] | None = None

    def overview(self) -> Overview:
        """The latest look, or a new one where that is too old."""
        with self._lock:
            if self._latest is None or self._clock() - self._latest[0] >= self._max_age:
                overview = self._look()
                # From when it ended: one that took long because Redis is silent would be old already.
                self._latest = (self._clock(), overview)
            return self._latest[1]

    def describe(self) -> Iterator[Metric]:
        """The metrics without their values, so that registering this looks at nothing."""
        return (_family(definition) for definition in DEFINITIONS)

    def collect(self) -> Iterator[Metric]:
        """The metrics."""
        overview = self.overview()
        for definition in DEFINITIONS:
            family = _family(definition)
            for labels, value in definition.samples(overview):
                family.add_metric(labels, value)
            yield family


def _family(definition: Definition) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    return kind(definition.name, definition.help, labels=definition.labels)


def _routed(metrics: WSGIApplication) -> WSGIApplication:
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
        # A peer that hangs up is no news; anything else is a mistake here.
        if not isinstance(sys.exc_info()[1], OSError):
            logger.exception("a scrape failed")


class _Handler(WSGIRequestHandler):
    # Seconds for a peer to send its request.
    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Scrapes are no news."""
