"""Sentinel: the same channel for a broker behind Redis Sentinel, which kombu asks for the primary."""

from __future__ import annotations

from kombu.transport import redis as kombu_redis

from dispatcher.tasks.transport.channel import Channel, Transport


class SentinelChannel(Channel, kombu_redis.SentinelChannel):
    """Our channel on the connections of kombu's channel for sentinels."""


class SentinelTransport(Transport):
    """kombu's transport for sentinels with our channel."""

    Channel = SentinelChannel
    default_port = kombu_redis.SentinelTransport.default_port  # type: ignore[assignment]  # None in kombu's annotation
