"""Address: who sent a request, behind proxies that the settings list. Nobody else's header is believed."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

# Hops of X-Forwarded-For that are looked at.
_MAX_HOPS: Final = 20


class Proxies:
    """Knows the proxies by their networks.

    Args:
        networks: Of the settings, such as ``10.0.0.0/8``; none trusts nobody.
    """

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network) for network in networks]

    def address_of(self, peer: str, forwarded: str | None) -> str:
        """The rightmost address that is not a proxy's.

        Args:
            peer: The other end of the connection; empty for a Unix socket, which counts as a proxy where any is listed.
            forwarded: X-Forwarded-For, all of its lines joined by commas.

        Returns:
            An address; the peer's where a listed proxy says nothing that is one.
        """
        if not forwarded or not self._networks or (peer and not self._is_proxy(peer)):
            return peer
        address = peer
        for hop in reversed(forwarded.split(",")[-_MAX_HOPS:]):
            text = _without_port(hop.strip())
            try:
                address = str(ipaddress.ip_address(text))
            except ValueError:
                return address
            if not self._is_proxy(address):
                return address
        return address

    def _is_proxy(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if parsed.version == 6 and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)


def _without_port(hop: str) -> str:
    # "[2001:db8::1]:4711", "192.0.2.7:4711"
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
