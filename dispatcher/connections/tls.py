"""TLS: what connections to web servers trust, and the handshake within a deadline."""

from __future__ import annotations

import os
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import SetupError
from dispatcher.process.clock import monotonic

if TYPE_CHECKING:
    from dispatcher.connections.deadline import Deadline

# Variables with a file, or a directory, of certificates to trust: those that requests and curl read.
_AUTHORITIES: Final = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def secure(connection: Any, host: str, deadline: Deadline) -> Any:
    """The connection with TLS around it, the host's certificate checked. The handshake keeps to the deadline."""
    variable = next((name for name in _AUTHORITIES if os.environ.get(name)), None)
    context = _tls_context(variable, None if variable is None else os.environ[variable])
    # A certificate names no host with a dot at its end.
    name = host.rstrip(".")
    connection.settimeout(deadline.left())
    if not isinstance(connection, ssl.SSLSocket):
        # The socket's timeout is for all steps of the handshake together.
        return context.wrap_socket(connection, server_hostname=name)
    from urllib3.util.ssltransport import SSLTransport  # noqa: PLC0415 - for proxies that speak TLS themselves

    bounded: Any = _BoundedConnection(connection)
    bounded.settimeout(deadline.left())
    return SSLTransport(bounded, context, server_hostname=name)


@cache
def _tls_context(variable: str | None, path: str | None) -> ssl.SSLContext:
    """What to trust: the file or directory that a variable names, else the certificates of certifi."""
    if path is None:
        import certifi  # noqa: PLC0415 - slow to import, and plain HTTP needs none

        path = certifi.where()
    is_directory = os.path.isdir(path)
    try:
        context = ssl.create_default_context(
            cafile=None if is_directory else path, capath=path if is_directory else None
        )
    except OSError as error:
        problem = (error.strerror or "").lower() if not isinstance(error, ssl.SSLError) else "no certificate is in it"
        remedy = "mend the file" if variable is None else f"mend {variable}, or unset it"
        raise SetupError(f"the certificates to trust cannot be read from {path}: {problem}; {remedy}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


class _BoundedConnection:
    """A TLS connection for another one inside, whose timeout is for all steps of a call together."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._until = 0.0

    def settimeout(self, seconds: float) -> None:
        """Say how long the next call may take."""
        self._until = monotonic() + seconds

    def recv(self, count: int) -> bytes:
        """Receive up to so many bytes."""
        self._connection.settimeout(max(self._until - monotonic(), 1e-6))
        return self._connection.recv(count)

    def sendall(self, data: bytes) -> None:
        """Send all of the bytes."""
        unsent = memoryview(data)
        while unsent:
            self._connection.settimeout(max(self._until - monotonic(), 1e-6))
            unsent = unsent[self._connection.send(unsent) :]

    def fileno(self) -> int:
        """The number of the connection's file."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close it."""
        self._connection.close()
