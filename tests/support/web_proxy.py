"""A stand-in for a site's proxy: it leads each connection to one server of this machine, whichever was asked for."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit

from tests.support.listener import Listener


class WebProxy(Listener):
    """Speaks HTTP, with CONNECT and without, and SOCKS 5 to those who begin so.

    Args:
        target: The URL of the server that all connections lead to.
        tls: What it speaks TLS with to its clients; None for none.
        answer: What it answers to CONNECT, if not that it is connected; b"" for nothing at all.
    """

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None, answer: bytes | None = None) -> None:
        super().__init__(socket.create_server(("127.0.0.1", 0)))
        self._target = urlsplit(target)
        self._tls = tls
        self._answer = answer
        #: The first line and the headers of each request that it got, or the SOCKS request.
        self.requests: list[bytes] = []

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self, end: socket.socket) -> None:
        threading.Thread(target=self._lead, args=(end,), daemon=True).start()

    def _lead(self, end: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                end = self._tls.wrap_socket(end, server_side=True)
                self._ends.append(end)
            begin = b""
            if (first := end.recv(1)) == b"\x05":
                self._greet_socks(end)
            else:
                begin = first
                while b"\r\n\r\n" not in begin:
                    begin += end.recv(65536)
                self.requests.append(begin.partition(b"\r\n\r\n")[0])
                if begin.startswith(b"CONNECT "):
                    begin = b""
                    if self._answer is not None:
                        end.sendall(self._answer)
                        end.recv(1)
                        return
                    end.sendall(b"HTTP/1.1 200 Connected\r\nX-Proxy: a\r\n\r\n")
            far = socket.create_connection((self._target.hostname or "", self._target.port or 0))
            self._ends.append(far)
            far.sendall(begin)
            threading.Thread(target=_carry, args=(far, end), daemon=True).start()
            _carry(end, far)

    def _greet_socks(self, end: socket.socket) -> None:
        """The greeting of RFC 1928, without a password."""
        end.recv(end.recv(1)[0])
        end.sendall(b"\x05\x00")
        self.requests.append(end.recv(512))
        end.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")


def _carry(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
