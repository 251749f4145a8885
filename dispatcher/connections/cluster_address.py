"""Cluster address: the servers at which a Redis Cluster is first asked who they all are, read from one URL. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from dispatcher.connections.redis_address import RedisAddress

#: The second is with TLS, on every connection.
SCHEMES: Final = ("redis+cluster", "rediss+cluster")

_EXAMPLE: Final = "redis+cluster://user:password@host:6379;host2:6379;host3:6379"
_SCHEME: Final = re.compile(r"^rediss?\+cluster(?=://)", re.IGNORECASE)
_TAIL: Final = re.compile(r"[/?].*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAddress:
    """A Redis Cluster.

    Args:
        nodes: Some of its servers, one at least. They differ in host and port only.
    """

    nodes: tuple[RedisAddress, ...]

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Read ``redis+cluster://user:password@host:port;host:port``, or ``rediss+cluster://`` with its TLS options.

        The login stands before the first host and holds for all servers, and so do the options behind the last one.
        Each host may have the scheme too.

        Raises:
            ValueError: It cannot be read, or names a database other than 0. Says what to write, and holds no password.
        """
        parts = [part.strip() for part in url.strip().split(";")]
        found = _SCHEME.match(parts[0])
        if found is None:
            raise ValueError(f"it must look like {_EXAMPLE}")
        scheme = found[0].lower()
        hosts = [_SCHEME.sub("", part).removeprefix("://") for part in parts]
        if any(other is not None and other[0].lower() != scheme for other in map(_SCHEME.match, parts)):
            raise ValueError(f"its servers are either all redis+cluster:// or all rediss+cluster://: {_EXAMPLE}")
        login, at, hosts[0] = hosts[0].rpartition("@")
        tail = _TAIL.search(hosts[-1])
        behind = "" if tail is None else tail[0]
        hosts[-1] = hosts[-1].removesuffix(behind)
        nodes = tuple(
            RedisAddress.from_url(f"{scheme.removesuffix('+cluster')}://{login}{at}{host}{behind}") for host in hosts
        )
        if not all(node.host for node in nodes):
            raise ValueError(f"one of its servers has no host; it must look like {_EXAMPLE}")
        if any(node.database for node in nodes):
            raise ValueError("a Redis Cluster has the database 0 only: leave its number away")
        return cls(nodes=nodes)

    def at(self, host: str, port: int) -> RedisAddress:
        """The address of another of its servers, with the same login and TLS."""
        return replace(self.nodes[0], host=host, port=port)

    def __str__(self) -> str:
        """The URL without passwords, for messages."""
        first, *others = (str(node).removesuffix("/0") for node in self.nodes)
        scheme, _, rest = first.partition("://")
        hosts = [rest, *(other.partition("://")[2].rpartition("@")[2] for other in others)]
        return f"{scheme}+cluster://{';'.join(hosts)}"


def is_cluster(url: str) -> bool:
    """Whether a URL says that it names a Redis Cluster."""
    return _SCHEME.match(url.strip()) is not None
