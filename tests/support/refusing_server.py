"""A stand-in for a Redis that answers every command with one error, like a Redis that loads its data."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path

from tests.support.listener import Listener


class RefusingServer(Listener):
    """Listens on a unix socket.

    Args:
        path: The socket; an existing file is replaced.
        error: Its answer, such as "LOADING …".
    """

    def __init__(self, path: Path, error: str) -> None:
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        super().__init__(listener)
        self.refused = 0
        self._answer = f"-{error}\r\n".encode()

    def _serve(self, end: socket.socket) -> None:
        threading.Thread(target=self._refuse, args=(end,), daemon=True).start()

    def _refuse(self, end: socket.socket) -> None:
        with suppress(OSError), end.makefile("rb") as commands:
            # A command is "*<parts>", then for each part "$<length>" and the bytes, each with a line break.
            while head := commands.readline():
                for _ in range(int(head[1:])):
                    commands.read(int(commands.readline()[1:]) + 2)
                end.sendall(self._answer)
                self.refused += 1
