"""Proxy: the web or SOCKS proxy that the environment names, and how it lets connections through."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from dispatcher.connections.channel import ProtocolError
from dispatcher.connections.hosts import is_address, look_up, to_ascii
from dispatcher.connections.urls import is_local
from dispatcher.errors import SetupError
from dispatcher.installation.extras import install_command

if TYPE_CHECKING:
    import socket

    from dispatcher.connections.channel import Channel
    from dispatcher.connections.deadline import Deadline

# Ports of proxies whose URLs have none.
_PORTS: Final = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
# Bytes of a line, and lines, of a proxy's answer.
_MAX_LINE_BYTES: Final = 65_536
_MAX_LINES: Final = 1000


class TunnelError(OSError):
    """A proxy does not let connections through to the server.

    Args:
        status: The HTTP status of its answer.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answered {status}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy as a variable such as HTTPS_PROXY names it. Its repr has no password."""

    scheme: str
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def authorization(self) -> str | None:
        """The value of Proxy-Authorization; None without a user."""
        if self.user is None:
            return None
        return f"Basic {base64.b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS instead of HTTP."""
        return self.scheme.startswith("socks")

    def tunnel(self, channel: Channel, host: str, port: int, deadline: Deadline) -> None:
        """Have it connect to a server (RFC 9110 §9.3.6).

        Args:
            channel: The connection to the proxy, through which the server is reached afterwards.
            host: The server's name or address.
            port: The server's port.
            deadline: Until when.

        Raises:
            TunnelError: It refuses.
            OSError: It does not answer as a proxy should, or not in time.
        """
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {address} HTTP/1.1", f"Host: {address}"]
        if self.authorization is not None:
            lines.append(f"Proxy-Authorization: {self.authorization}")
        channel.send("\r\n".join([*lines, "", ""]).encode("ascii"), deadline)
        words = channel.read_line(deadline, max_bytes=_MAX_LINE_BYTES).split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
            raise ProtocolError("the proxy does not answer in HTTP")
        if not 200 <= int(words[1]) < 300:
            raise TunnelError(int(words[1]))
        for _ in range(_MAX_LINES):
            if not channel.read_line(deadline, max_bytes=_MAX_LINE_BYTES):
                break
        if channel.buffer:
            raise ProtocolError("the proxy sent more than its answer")

    def open_socks(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        """A connection to a server through a SOCKS proxy.

        Raises:
            SetupError: The package that speaks SOCKS is not installed.
            OSError: No connection comes about in time.
        """
        try:
            import socks  # type: ignore[import-untyped]  # noqa: PLC0415 - a package of its own, for those who have such a proxy
        except ImportError:
            remedy = f"{install_command('socks')}, or name a proxy that begins with http://"
            raise SetupError(
                f"the proxy {self.host}:{self.port} speaks SOCKS, whose package is missing: {remedy}"
            ) from None

        class BoundedSocket(socks.socksocket):  # type: ignore[misc]
            def recv_into(self, *args: Any, **options: Any) -> int:
                """Receive within the deadline: the proxy's answer is read in pieces."""
                self.settimeout(deadline.left())
                return int(super().recv_into(*args, **options))

        resolves_names = self.scheme in {"socks4a", "socks5h"}
        kind = socks.SOCKS5 if self.scheme.startswith("socks5") else socks.SOCKS4
        family, _, _, _, address = look_up(self.host, self.port, deadline)[0]
        target = host if resolves_names else look_up(host, port, deadline)[0][4][0]
        connection = BoundedSocket(family)
        try:
            connection.set_proxy(kind, address[0], self.port, resolves_names, self.user, self.password or None)
            connection.settimeout(deadline.left())
            connection.connect((target, port))
        except BaseException:
            connection.close()
            raise
        return connection


def proxy_to(scheme: str, host: str, port: int) -> Proxy | None:
    """The environment's proxy for a server; None where it is to be reached directly."""
    # A proxy cannot reach this machine's own servers.
    if is_local(host):
        return None
    proxies = getproxies()
    name = scheme if proxies.get(scheme) else "all"
    url = proxies.get(name)
    if not url or proxy_bypass(host) or proxy_bypass(f"{host}:{port}") or _is_excepted(host, proxies.get("no", "")):
        return None
    variable = f"{name.upper()}_PROXY"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        proxy_host, proxy_port = to_ascii(parts.hostname or ""), parts.port
    except (ValueError, SetupError):
        raise SetupError(f"{variable} is not the URL of a proxy: write it as http://proxy.example.com:3128") from None
    if parts.scheme not in _PORTS:
        known = ", ".join(_PORTS)
        raise SetupError(f"{variable} has the scheme {parts.scheme!r}, and a proxy's is one of {known}")
    return Proxy(
        scheme=parts.scheme,
        host=proxy_host,
        port=proxy_port or _PORTS[parts.scheme],
        user=None if parts.username is None else unquote(parts.username),
        password=unquote(parts.password or ""),
    )


def _is_excepted(host: str, exceptions: str) -> bool:
    """Whether NO_PROXY has a network, such as 10.0.0.0/8, with this address in it."""
    if not is_address(host):
        return False
    for exception in exceptions.split(","):
        try:
            if "/" in exception and ip_address(host) in ip_network(exception.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False
