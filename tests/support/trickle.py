"""A stand-in for a receiver that takes everything and answers a byte now and then, so that no single wait is long."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

from tests.support.listener import Listener

# Seconds between two bytes.
_PAUSE_SECONDS = 0.05


class Trickle(Listener):
    """Sends these bytes again and again to whoever connects, for as long as anybody listens."""

    def __init__(self, data: bytes) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self._data = data

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> int:
        """How many it has accepted."""
        return len(self._ends)

    def _serve(self, end: socket.socket) -> None:
        threading.Thread(target=self._send, args=(end,), daemon=True).start()

    def _send(self, end: socket.socket) -> None:
        with suppress(OSError):
            while True:
                for byte in self._data:
                    end.sendall(bytes([byte]))
                    time.sleep(_PAUSE_SECONDS)
