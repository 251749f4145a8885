"""A probe of an endpoint that destinations send to: connects as their HTTP client would, and sends no request."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, Final

from dispatcher.connections.deadline import Deadline
from dispatcher.connections.proxy import TunnelError

if TYPE_CHECKING:
    from dispatcher.connections.endpoint import Endpoint

# To connect: name service, proxy, and the round trips of TLS.
_TIMEOUT_SECONDS: Final = 5.0


def probe(endpoint: Endpoint) -> dict[str, Any] | None:
    """Connect and hang up. Blocks for five seconds at most, whatever the server does.

    Returns:
        The server's certificate, as ``SSLSocket.getpeercert`` returns it; None without TLS.

    Raises:
        SetupError: A setting or file of this machine keeps it from connecting.
        OSError: The server, or the proxy, cannot be reached, or its certificate is not valid.
    """
    channel = endpoint.connect(Deadline(_TIMEOUT_SECONDS))
    try:
        certificate: dict[str, Any] | None = channel.socket.getpeercert() if endpoint.has_tls else None
        return certificate
    finally:
        channel.close()


def describe(error: Exception) -> str:
    """An error of ``probe`` in plain words."""
    match error:
        case socket.gaierror():
            words = "the name service does not know the name, or does not answer"
        case ssl.SSLCertVerificationError():
            words = f"its certificate is not valid: {error.verify_message}"
        case ssl.SSLError():
            words = f"no TLS: {error.reason or error}"
        case TunnelError():
            words = f"{error}: mend its URL in the environment, or have it let this host through"
        case TimeoutError():
            words = f"no answer within {_TIMEOUT_SECONDS:g} s"
        case OSError() if error.strerror:
            words = error.strerror.lower()
        case _:
            words = str(error)
    return words
