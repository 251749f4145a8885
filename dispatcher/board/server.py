"""Server: uvicorn around the board. It ends at once, and its streams with it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Final

import uvicorn

from dispatcher.board.app import Board
from dispatcher.board.login import Logins

if TYPE_CHECKING:
    from dispatcher.connections.redis_pool import RedisPool
    from dispatcher.monitoring.snapshot import Observer

# Seconds that requests have to end, once streams were told to.
_SHUTDOWN_SECONDS: Final = 3
# Connections at a time: a browser holds a few for each page.
_MAX_CONNECTIONS: Final = 400


def serve(observer: Observer, pool: RedisPool, listener: socket.socket, *, login: str, allow_control: bool) -> None:
    """Serve until SIGTERM or SIGINT. Blocks; for the main thread.

    Args:
        observer: For the ledger; for this server alone.
        pool: For dead letters and for what the buttons do.
        listener: From ``listen``; closed at the end.
        login: user:password, more than one separated by commas.
        allow_control: Whether the buttons do anything.
    """
    board = Board(observer, pool, allow_control=allow_control)
    config = uvicorn.Config(
        board.app(Logins(login)),
        log_config=None,
        # It would name letters that people look at; what matters is logged where it happens.
        access_log=False,
        lifespan="on",
        ws="none",
        # The sender's address is for the log alone, where a proxy's will do.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )
    try:
        _Server(config, board).run(sockets=[listener])
    finally:
        listener.close()


class _Server(uvicorn.Server):
    """uvicorn, which tells the streams to end."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Take SIGTERM and SIGINT for the end. Unlike uvicorn's, it does not raise them again behind it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self._board.is_ending = self.should_exit = True
