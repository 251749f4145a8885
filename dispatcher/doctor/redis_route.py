"""Redis route: how a connection gets to Redis, as far as its URL tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, urlsplit

from dispatcher.connections.cluster_address import ClusterAddress, is_cluster
from dispatcher.connections.sentinels import Sentinels, is_sentinel
from dispatcher.connections.urls import is_local, redis_url


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisRoute:
    """The route to Redis.

    Args:
        host: The first host elsewhere; None where all is on this machine.
        encrypted: Whether the connection is with TLS.
        verified: Whether the server's certificate is verified.
        password: Whether the URL has a password.
    """

    host: str | None
    encrypted: bool
    verified: bool
    password: bool

    @classmethod
    def of(cls, url: str) -> Self:
        """Read it from a URL that the settings have taken."""
        if is_cluster(url):
            nodes = ClusterAddress.from_url(url).nodes
            return cls(
                host=next((node.host for node in nodes if not is_local(node.host)), None),
                encrypted=nodes[0].tls is not None,
                verified=(nodes[0].tls or {}).get("ssl_cert_reqs") != "none",
                password=nodes[0].password is not None,
            )
        if is_sentinel(url):
            sentinels = Sentinels.from_url(url)
            host = next((host for host, _ in sentinels.hosts if not is_local(host)), None)
            return cls(host=host, encrypted=False, verified=False, password=sentinels.password is not None)
        parts = urlsplit(redis_url(url))
        options = parse_qs(parts.query)
        asked = options.get("ssl_cert_reqs", ["required"])[0].lower().removeprefix("cert_")
        return cls(
            host=None if parts.scheme == "unix" or is_local(parts.hostname) else parts.hostname,
            encrypted=parts.scheme == "rediss",
            verified=asked != "none",
            password=bool(parts.password or "password" in options),
        )
