"""Server: commands that run a server print its address, and serve until they are stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
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
