"""Deployment: what the checks examine, and the connections that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.urls import is_redis

if TYPE_CHECKING:
    from dispatcher.config import DestinationSettings, Settings

# Seconds for one answer of Redis: longer than a usable Redis takes, and short enough for somebody who watches.
_TIMEOUT_SECONDS: Final = 2.0


class Deployment:
    """A deployment as its settings describe it. Connects at the first question. For one thread at a time.

    Args:
        settings: Those of the deployment.
        environ: The environment variables, since Flower's are not in the settings.
        quick: Leave out what takes longer than a moment.
        flower: The address at which Flower may listen.
    """

    def __init__(self, settings: Settings, *, environ: Mapping[str, str], quick: bool, flower: str) -> None:
        self.settings: Final = settings
        self.environ: Final = environ
        self.quick: Final = quick
        self.flower: Final = flower
        self._pools: dict[str, RedisPool] = {}

    @property
    def destinations(self) -> dict[str, DestinationSettings]:
        """Those that workers deliver to."""
        return self.settings.served_destinations

    @property
    def redis_urls(self) -> tuple[str, ...]:
        """Every Redis that is used: the batch store's, and the broker's if that is another one."""
        urls = [self.settings.store]
        if self.settings.broker not in urls and is_redis(self.settings.broker):
            urls.append(self.settings.broker)
        return tuple(urls)

    @property
    def longest_lease_seconds(self) -> float:
        """The longest lease of all destinations; a minute without any."""
        return max((table.lease_seconds for table in self.destinations.values()), default=60.0)

    def pool(self, url: str) -> RedisPool:
        """The connections to one Redis, with a short timeout."""
        if url not in self._pools:
            self._pools[url] = RedisPool(url, timeout_seconds=_TIMEOUT_SECONDS)
        return self._pools[url]

    def close(self) -> None:
        """Close all connections. May be called twice."""
        for pool in self._pools.values():
            pool.close()
