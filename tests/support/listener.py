"""A listening socket whose connections each go to threads of their own, and all of which end with it."""

from __future__ import annotations

import socket
import threading
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Self


class Listener(ABC):
    """Takes connections from ``with`` on.

    Args:
        listener: Listens already; closed with everything else.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        # What is closed at the end: what was taken, and what a subclass has opened for it.
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
        """Serve a connection that was taken, in threads of its own: the next one waits for the return."""

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                end, _ = self._listener.accept()
                self._ends.append(end)
                self._serve(end)
