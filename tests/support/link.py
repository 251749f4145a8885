"""A TCP link to a Redis on a unix socket, which can go dead without a word, as behind a firewall that forgot it."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests.support.listener import Listener


class Link(Listener):
    """Carries bytes both ways between a port of this machine and a socket.

    Args:
        target: The unix socket of a server.
    """

    def __init__(self, target: Path) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self._target = target
        # Connections of an older time carry nothing any more.
        self._time = 0

    @property
    def url(self) -> str:
        """As ``DISPATCHER_BROKER_URL`` takes it."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @property
    def count(self) -> int:
        """How many connections there have been."""
        return len(self._ends) // 2

    def deaden(self) -> None:
        """Let nothing through the connections that there are from now on, and close none of them; new ones work."""
        self._time += 1

    def _serve(self, end: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        self._ends.append(far)
        try:
            far.connect(str(self._target))
        except OSError:
            end.close()
            return
        for one, other in ((end, far), (far, end)):
            threading.Thread(target=self._carry, args=(one, other, self._time), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, time: int) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if time == self._time:
                    other.sendall(data)
            if time == self._time:
                other.shutdown(socket.SHUT_WR)
