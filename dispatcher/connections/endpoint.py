"""Endpoint: a web server, and the connection to it: directly or through the environment's proxy, within a deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from dispatcher.connections.channel import Channel
from dispatcher.connections.hosts import open_socket, to_ascii
from dispatcher.connections.proxy import Proxy, proxy_to
from dispatcher.connections.tls import secure
from dispatcher.errors import SetupError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from dispatcher.connections.deadline import Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A web server, and the way to it.

    Args:
        host: Its name or address, in ASCII.
        port: Its port.
        has_tls: Whether it speaks HTTPS.
        proxy: The proxy that leads there; None if the connection is direct.
    """

    host: str
    port: int
    has_tls: bool
    proxy: Proxy | None = None

    @classmethod
    def of(cls, url: SplitResult) -> Self:
        """The endpoint of a URL, with the proxy that the environment has for it. This machine has none.

        Raises:
            SetupError: The URL, or that of the proxy, cannot be used. The text has neither path nor password.
        """
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise SetupError("the URL is not usable: it must begin with https:// or http://, and have a host")
        try:
            port = url.port or (443 if url.scheme == "https" else 80)
        except ValueError:
            raise SetupError(f"the URL is not usable: the port of {url.hostname} must be from 1 to 65535") from None
        host = to_ascii(url.hostname)
        return cls(host=host, port=port, has_tls=url.scheme == "https", proxy=proxy_to(url.scheme, host, port))

    def __str__(self) -> str:
        through = "" if self.proxy is None else f" through the proxy {self.proxy.host}:{self.proxy.port}"
        return f"{self.host}:{self.port}{through}"

    def connect(self, deadline: Deadline) -> Channel:
        """Connect: look up the name, open the connection, tunnel through the proxy, agree on TLS.

        Blocks up to the deadline. A name service that does not answer is left to a thread, which ends with it.

        Raises:
            SetupError: A setting or file of this machine keeps it from connecting.
            OSError: The server, or the proxy, cannot be reached in time, or its certificate is not valid.
        """
        proxy = self.proxy
        if proxy is None:
            channel = Channel(open_socket(self.host, self.port, deadline))
        elif proxy.is_socks:
            channel = Channel(proxy.open_socks(self.host, self.port, deadline))
        else:
            channel = Channel(open_socket(proxy.host, proxy.port, deadline))
        try:
            if proxy is not None and proxy.scheme == "https":
                channel.socket = secure(channel.socket, proxy.host, deadline)
            if self.has_tls:
                if proxy is not None and not proxy.is_socks:
                    proxy.tunnel(channel, self.host, self.port, deadline)
                channel.socket = secure(channel.socket, self.host, deadline)
        except BaseException:
            channel.close()
            raise
        return channel
