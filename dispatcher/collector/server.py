"""Server: uvicorn around the app, for one process. It ends in order: not ready, then not listening, then closed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

from dispatcher.collector.app import App, access
from dispatcher.collector.commit import Committer
from dispatcher.collector.protocol import make_protocol

if TYPE_CHECKING:
    from dispatcher.config import Settings

# Seconds that requests have to end once no new ones come.
_SHUTDOWN_SECONDS: Final = 10


def listen(settings: Settings, *, is_shared: bool = False) -> socket.socket:
    """A socket on the address of the settings, bound and not listening yet.

    Args:
        settings: The host and port.
        is_shared: Whether other processes of this user bind it too; the kernel gives each a part of the connections.

    Raises:
        OSError: It is taken, or is no address of this machine.
    """
    table = settings.collector
    family = socket.AF_INET6 if ":" in table.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((table.host, table.port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT. Blocks; for the main thread.

    Args:
        settings: All of them.
        listener: From ``listen``; closed at the end.

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
    table = settings.collector
    config = uvicorn.Config(
        app,
        log_config=None,
        # uvicorn's own shows queries, in which keys are.
        access_log=False,
        lifespan="off",
        ws="none",
        http=make_protocol(table, app),
        loop="uvloop",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=int(table.keep_alive_seconds),
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    server = _Server(config, app, table.drain_seconds)
    try:
        server.run(sockets=[listener])
    finally:
        committer.close()
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn, with a time between the signal and the end in which balancers see that it is not ready."""

    def __init__(self, config: uvicorn.Config, app: App, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Take SIGTERM and SIGINT for the end. Unlike uvicorn's, it does not raise them again behind it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._drain)
        yield

    def _drain(self) -> None:
        if self._app.is_draining or not self._drain_seconds:
            self.should_exit = True
        self._app.is_draining = True
        asyncio.get_running_loop().call_later(self._drain_seconds, setattr, self, "should_exit", True)
