"""A stand-in for a Redis that answers every command with one error, as while it loads its data."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self


class RefusingServer:
    """Listens on a unix socket.

    Args:
        path: Where; what is there is replaced.
        error: What it answers, such as "LOADING …".
    """

    def __init__(self, path: Path, error: str) -> None:
        self.refused = 0
        self._answer = f"-{error}\r\n".encode()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._clients: list[socket.socket] = []

    def close(self) -> None:
        """Close all connections. May be called twice."""
        for end in (self._listener, *self._clients):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                self._clients.append(client)
                threading.Thread(target=self._refuse, args=(client,), daemon=True).start()

    def _refuse(self, client: socket.socket) -> None:
        with suppress(OSError), client.makefile("rb") as commands:
            # A command is "*<parts>" and for each part "$<bytes>" and the bytes, each with a line's end.
            while head := commands.readline():
                for _ in range(int(head[1:])):
                    commands.read(int(commands.readline()[1:]) + 2)
                client.sendall(self._answer)
                self.refused += 1
