"""Link: a TCP proxy to a Redis on a unix socket that can go silent, like a firewall that forgot a connection."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests.support.listener import Listener


class Link(Listener):
    """Carries bytes in both directions between a port of this machine and a socket.

    Args:
        target: The unix socket of a server.
    """

    def __init__(self, target: Path) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self._target = target
        # Connections of an older generation carry nothing any more.
        self._generation = 0

    @property
    def url(self) -> str:
        """As ``DISPATCHER_BROKER_URL`` takes it."""
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @property
    def count(self) -> int:
        """How many connections it has accepted."""
        return len(self._ends) // 2

    def deaden(self) -> None:
        """From now on let nothing through the existing connections, without closing them. New ones work."""
        self._generation += 1

    def _serve(self, end: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        self._ends.append(far)
        try:
            far.connect(str(self._target))
        except OSError:
            end.close()
            return
        for one, other in ((end, far), (far, end)):
            threading.Thread(target=self._carry, args=(one, other, self._generation), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket, generation: int) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                if generation == self._generation:
                    other.sendall(data)
            if generation == self._generation:
                other.shutdown(socket.SHUT_WR)
