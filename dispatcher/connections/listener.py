"""Listener: the socket of a server that people are told the address of."""

from __future__ import annotations

import socket
from typing import Final

# Connections that wait to be taken.
_BACKLOG: Final = 128


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, so that whoever is told of it gets an answer, if a little later.

    Raises:
        OSError: The address is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
