"""The broker's channel: kombu's for Redis, made to survive restarts of Redis, and not to build a client for each task.

It overrides private parts of kombu 5.7, which is why pyproject.toml pins that minor version.
"""

from __future__ import annotations

import os
from typing import Any

from kombu.transport import redis as kombu_redis
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError


class Channel(kombu_redis.Channel):
    """kombu's channel with two repairs."""

    _sync_client: tuple[int, Redis] | None = None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # A channel that outlived its connection raises AttributeError in kombu, which ends the worker; a connection
        # error has it reconnect.
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the channel's connection is gone")
        parameters: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        return parameters

    def _create_client(self, asynchronous: bool = False) -> Redis:
        # kombu makes one for each command outside its event loop; that is a quarter of a small task's time.
        if asynchronous:
            client: Redis = super()._create_client(asynchronous=True)
            return client
        pid = os.getpid()
        if self._sync_client is None or self._sync_client[0] != pid or self._pool is None:
            self._sync_client = (pid, super()._create_client())
        return self._sync_client[1]


class Transport(kombu_redis.Transport):
    """kombu's Redis transport with our channel; ``broker_transport`` names it."""

    Channel = Channel
