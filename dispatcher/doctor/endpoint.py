"""Endpoint: a server that destinations send to, and the connection to it. Sends no request."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from dispatcher.connections.urls import is_local

# To connect, which takes three round trips for TLS.
_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server, reached as the HTTP client of the destinations would reach it.

    Args:
        host: Its name or address.
        port: Its port.
        has_tls: Whether it speaks HTTPS.
        proxy: Host and port of the proxy that leads there; None if the connection is direct.
    """

    host: str
    port: int
    has_tls: bool
    proxy: tuple[str, int] | None = None

    @classmethod
    def of(cls, url: SplitResult) -> Self:
        """The endpoint of a URL with a host, with the proxy that the environment has for it."""
        assert url.hostname is not None
        port = url.port or (443 if url.scheme == "https" else 80)
        return cls(host=url.hostname, port=port, has_tls=url.scheme == "https", proxy=_proxy(url))

    def __str__(self) -> str:
        through = "" if self.proxy is None else f" through the proxy {self.proxy[0]}:{self.proxy[1]}"
        return f"{self.host}:{self.port}{through}"

    def connect(self) -> dict[str, Any] | None:
        """Connect and hang up. Blocks for a few timeouts at most.

        Returns:
            The server's certificate, as ``SSLSocket.getpeercert`` returns it; None without TLS.

        Raises:
            OSError: The server, or the proxy, cannot be reached, or its certificate is not valid.
            HTTPException: The proxy refuses.
        """
        address = (self.host, self.port) if self.proxy is None else self.proxy
        connection: http.client.HTTPConnection
        if self.has_tls:
            context = ssl.create_default_context(cafile=_authorities())
            connection = http.client.HTTPSConnection(*address, timeout=_TIMEOUT_SECONDS, context=context)
            if self.proxy is not None:
                connection.set_tunnel(self.host, self.port)
        else:
            connection = http.client.HTTPConnection(*address, timeout=_TIMEOUT_SECONDS)
        try:
            connection.connect()
            return connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
        finally:
            connection.close()


def describe(error: Exception) -> str:
    """An error of ``Endpoint.connect`` in plain words."""
    if isinstance(error, socket.gaierror):
        return "the name service does not know the name"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {error.reason or error}"
    if isinstance(error, TimeoutError):
        return f"no answer within {_TIMEOUT_SECONDS:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"{type(error).__name__}: {error}"


def _proxy(url: SplitResult) -> tuple[str, int] | None:
    proxy = getproxies().get(url.scheme)
    if not proxy or url.hostname is None or is_local(url.hostname) or proxy_bypass(url.hostname):
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return None if parts.hostname is None else (parts.hostname, parts.port or 80)


def _authorities() -> str:
    # The certificates and variables that the HTTP client of the destinations uses.
    from requests.utils import DEFAULT_CA_BUNDLE_PATH  # noqa: PLC0415 - slow to import, and only this command needs it

    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
