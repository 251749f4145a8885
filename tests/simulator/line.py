"""Line: the simulator's own fast connection to the run's Redis."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, Final

import hiredis

from dispatcher.connections.redis_pool import Command

_CHUNK_BYTES: Final = 1 << 20


class Line:
    """Sends commands and returns their answers. Raises an error that is among the answers."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._reader = hiredis.Reader()

    def execute(self, *command: Any) -> Any:
        """One command's answer."""
        return self.execute_many([command])[0]

    def execute_many(self, commands: list[Command]) -> list[Any]:
        """The answers to several commands, which are sent together."""
        self._socket.sendall(b"".join([hiredis.pack_command(command) for command in commands]))
        answers: list[Any] = []
        while len(answers) < len(commands):
            answer = self._reader.gets()
            while answer is False:
                self._reader.feed(self._socket.recv(_CHUNK_BYTES))
                answer = self._reader.gets()
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        return answers

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
