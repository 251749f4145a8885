"""Listener: a listening socket that serves each connection in threads of its own, and ends all of them with it."""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Self


class Listener(ABC):
    """Accepts connections from ``with`` on.

    Args:
        listener: A socket that listens already; it is closed with everything else.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        # Closed at the end: accepted connections, and sockets that a subclass has opened for them.
        self._ends: list[socket.socket] = []

    def close(self) -> None:
        """Close everything. May be called twice."""
        for end in (self._listener, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def _serve(self, end: socket.socket) -> None:
        """Serve an accepted connection in threads of its own. The next connection waits until this returns."""

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                end, _ = self._listener.accept()
                self._ends.append(end)
                self._serve(end)
