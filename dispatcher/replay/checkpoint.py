"""Marker: how far a log was replayed to a destination, kept in the batch store's Redis, so that it can be run again."""

from __future__ import annotations

from secrets import token_hex
from typing import Final

import msgspec

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.batches import prefix

# Seconds. Longer than the store remembers a journal, whose name has the token: a token that is made anew keeps the
# batches of an earlier replay, which may still wait, from being taken for this one's.
_KEPT_SECONDS: Final = 30 * 24 * 3600


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """Where a replay of a log stands.

    Args:
        token: Makes the names of its batches its own.
        position: Up to where the log was put, in bytes.
        number: The number of the last line before that.
        tail: The end of that line, to see that it is still the same log.
    """

    token: str
    position: int = 0
    number: int = 0
    tail: bytes = b""

    def journal(self, identity: str) -> str:
        """The name that the batch store knows the log by."""
        return f"replay-{identity}-{self.token}"


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Marker).decode


class Markers:
    """The markers of one destination. Each method is one round trip, and raises StoreUnavailableError."""

    def __init__(self, pool: RedisPool, destination: str) -> None:
        self._pool = pool
        self._destination = destination

    def find(self, identity: str) -> Marker:
        """The marker of a log, made where there is none."""
        key = self._key(identity)
        fresh = _encode(Marker(token=token_hex(4)))
        _, found = self._pool.execute_many([("SET", key, fresh, "NX", "EX", _KEPT_SECONDS), ("GET", key)])
        return _decode(found)

    def move(self, identity: str, marker: Marker) -> None:
        """Write down a marker, once what it says was put: it must never be ahead of the store."""
        self._pool.execute("SET", self._key(identity), _encode(marker), "EX", _KEPT_SECONDS)

    def _key(self, identity: str) -> str:
        return f"{prefix(self._destination)}replay:{identity}"
