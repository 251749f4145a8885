"""Server: commands that run a server print its address, and serve until they are stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import click

_STOP_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT}


class Server(Protocol):
    """Answers from threads of its own between ``start`` and ``stop``."""

    @property
    def url(self) -> str:
        """Its address, after ``start``."""
        ...

    def start(self) -> object:
        """Listen, and return at once. Raises OSError if it cannot."""

    def stop(self) -> object:
        """Stop listening."""


class Servers:
    """Several servers as one: started in their order, and stopped in the opposite one."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers

    @property
    def url(self) -> str:
        """The address of each, on a line of its own."""
        return "\n".join(server.url for server in self._servers)

    def start(self) -> None:
        """Start them. Raises OSError if one of them cannot; those before it are stopped again."""
        for position, server in enumerate(self._servers):
            try:
                server.start()
            except OSError:
                for started in self._servers[:position]:
                    started.stop()
                raise

    def stop(self) -> None:
        """Stop them."""
        for server in reversed(self._servers):
            server.stop()


def serve_until_stopped(make: Callable[[], Server], *, explain: Callable[[OSError], str]) -> None:
    """Print the address of a server and serve until SIGTERM or Ctrl-C. Blocks; for the main thread only.

    Args:
        make: Makes the server, which is started here. It is called with the signals blocked.
        explain: The message if the server cannot start, with what to do about it.

    Raises:
        click.ClickException: It cannot start.
    """
    # Before the first thread, so that every thread leaves them to sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    server = make()
    try:
        server.start()
    except OSError as error:
        raise click.ClickException(explain(error)) from error
    try:
        click.echo(server.url)
        signal.sigwait(_STOP_SIGNALS)
    finally:
        server.stop()
