"""Port: one of this machine's, kept for a process that is about to listen on it."""

from __future__ import annotations

import socket
from typing import Final, Self

from dispatcher.process.system_calls import IS_LINUX

# How often any free port is asked for, where others take those that are found.
_TRIES: Final = 20


class KeptPort:
    """A port that no other ``KeptPort`` of this machine gets, in whichever process, until it is closed.

    Its socket is bound and never listens, so that a process that sets SO_REUSEADDR, as servers do, can listen there,
    and can do so again after a restart. Two such sockets could be bound to one port, so a name in Linux' abstract
    namespace, which ends with this process, is taken with it. On other systems than Linux nothing is kept: the port was
    free a moment ago.

    Args:
        wanted: The port; any free one is taken if it is in use, and for 0.
        host: The address on which the process will listen.

    Raises:
        OSError: No port is free, or the address is not one of this machine.
    """

    def __init__(self, wanted: int, host: str = "127.0.0.1") -> None:
        self._name = socket.socket(socket.AF_UNIX)
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        for left in range(_TRIES, -1, -1):
            try:
                self.number = self._take(host, wanted if left == _TRIES else 0)
            except OSError:
                if not left:
                    self.close()
                    raise
            else:
                return

    def close(self) -> None:
        """Let go of it. Whoever listens there goes on. May be called twice."""
        self._socket.close()
        self._name.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, host: str, port: int) -> int:
        self._socket.close()
        self._socket = socket.socket(self._socket.family)
        # Or the connections of a process that has just ended would keep it for a minute.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((host, port))
        number = int(self._socket.getsockname()[1])
        if IS_LINUX:
            self._name.bind(f"\0dispatcher-port-{number}")
        else:
            self._socket.close()
        return number
