"""Server: uvicorn around the app, for one process. It ends in order: not ready, then not listening, then closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from dispatcher.collector.app import App, access
from dispatcher.collector.commit import Committer
from dispatcher.collector.kept_intake import WRITE_SECONDS, KeptIntake
from dispatcher.collector.metrics import MetricsApp
from dispatcher.collector.protocol import make_protocol

if TYPE_CHECKING:
    from dispatcher.config import Settings

#: How far behind the collector's port that of /metrics is, where the settings say none. The board's is next to it.
METRICS_BEHIND: Final = 10
#: Seconds that requests have to end once no new ones come.
SHUTDOWN_SECONDS: Final = 10
# Connections that wait to be taken.
_BACKLOG: Final = 2048


def listen(settings: Settings, *, is_shared: bool = False) -> socket.socket:
    """A socket on the address of the settings, to which clients can connect; one that is shared does not listen yet.

    Args:
        settings: The host and port.
        is_shared: Whether other processes of this user bind it too; the kernel gives each a part of the connections.

    Raises:
        OSError: It is taken, or is no address of this machine.
    """
    return _bind(settings.collector.host, settings.collector.port, is_shared=is_shared)


def listen_for_metrics(settings: Settings, port: int, *, is_shared: bool = False) -> socket.socket:
    """The same for /metrics.

    Args:
        settings: Its host, and its port where they say one.
        port: That of the collector, as it is bound.
        is_shared: As of ``listen``.

    Raises:
        OSError: As of ``listen``.
    """
    table = settings.collector
    wanted = table.metrics_port
    if wanted is None:
        wanted = port + METRICS_BEHIND if table.port and port + METRICS_BEHIND < 65_536 else 0
    return _bind(table.metrics_host, wanted, is_shared=is_shared)


def _bind(host: str, port: int, *, is_shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        if not is_shared:
            # Whoever is told the address gets an answer, if a little later. One that is shared would take connections
            # for a process that only keeps the port.
            listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def serve(settings: Settings, listener: socket.socket, metrics: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Blocks; for the main thread.

    Args:
        settings: All of them.
        listener: From ``listen``; closed at the end.
        metrics: From ``listen_for_metrics``; closed at the end. None: they are not served.

    Raises:
        OutboxError: The outbox cannot be opened.
    """
    if settings.collector.access_log:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        access.addHandler(handler)
        access.setLevel(logging.INFO)
    committer = Committer(settings)
    committer.open()
    app = App(settings, committer)
    intake = KeptIntake(settings.outbox_directory, app.counts)
    intake.open()
    table = settings.collector
    shared: dict[str, Any] = {
        "log_config": None,
        # uvicorn's own shows queries, in which keys are.
        "access_log": False,
        "lifespan": "off",
        "ws": "none",
        "loop": "uvloop",
        "server_header": False,
        "date_header": False,
        "proxy_headers": False,
    }
    config = uvicorn.Config(
        app,
        http=make_protocol(table, app),
        backlog=_BACKLOG,
        timeout_keep_alive=int(table.keep_alive_seconds),
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        **shared,
    )
    server = _Server(config, app, intake, table.drain_seconds)
    if metrics is not None:
        pages = MetricsApp(lambda: intake.total().render())
        server.serve_beside(uvicorn.Config(pages, http="httptools", timeout_graceful_shutdown=1, **shared), metrics)
    try:
        server.run(sockets=[listener])
    finally:
        intake.close()
        committer.close()
        listener.close()
        if metrics is not None:
            metrics.close()


class _Server(uvicorn.Server):
    """uvicorn, with a time between the signal and the end in which balancers see that it is not ready."""

    def __init__(self, config: uvicorn.Config, app: App, intake: KeptIntake, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._intake = intake
        self._drain_seconds = drain_seconds
        self._beside: tuple[uvicorn.Server, list[socket.socket]] | None = None
        self._writing: asyncio.Task[None] | None = None

    def serve_beside(self, config: uvicorn.Config, listener: socket.socket) -> None:
        """Have another application served from the start to the end of this one, by the same loop."""
        config.load()
        other = uvicorn.Server(config)
        other.lifespan = config.lifespan_class(config)
        self._beside = (other, [listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        self._writing = asyncio.create_task(self._write_intake())
        if self._beside is not None:
            other, listeners = self._beside
            await other.startup(sockets=listeners)
        await super().startup(sockets=sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is under way, and the other application last."""
        await super().shutdown(sockets=sockets)
        if self._beside is not None:
            other, listeners = self._beside
            await other.shutdown(sockets=listeners)
        if self._writing is not None:
            self._writing.cancel()

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Take SIGTERM and SIGINT for the end. Unlike uvicorn's, it does not raise them again behind it."""
        loop = asyncio.get_running_loop()
        # A supervisor may send the one that systemd has sent to all processes already.
        loop.add_signal_handler(signal.SIGTERM, self._drain)
        loop.add_signal_handler(signal.SIGINT, self._drain_or_end)
        yield

    def _drain_or_end(self) -> None:
        if self._app.is_draining:
            self.should_exit = True
        self._drain()

    def _drain(self) -> None:
        if not self._app.is_draining:
            self._app.is_draining = True
            connections: set[Any] = set(self.server_state.connections)
            for connection in connections:
                connection.drain()
            asyncio.get_running_loop().call_later(self._drain_seconds, setattr, self, "should_exit", True)

    async def _write_intake(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # A slow disk holds up no request.
            await loop.run_in_executor(None, self._intake.write, self._intake.encode())
            await asyncio.sleep(WRITE_SECONDS)
