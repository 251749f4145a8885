"""Checkpoint: how far a log was replayed to a destination. Kept in the batch store's Redis, for the next run."""

from __future__ import annotations

from secrets import token_hex
from typing import Final

import msgspec

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import DispatcherError
from dispatcher.store.keys import REPLAY

# Seconds. Longer than the store remembers a journal, whose name has the token: a token that is made anew keeps the
# batches of an earlier replay, which may still wait, from being taken for this one's.
_KEPT_SECONDS: Final = 30 * 24 * 3600


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log was replayed.

    Args:
        token: Makes the names of the replay's batches its own.
        position: Up to where the log was put, in bytes.
        number: The number of the last line before that.
        tail: The end of that line, by which the log is known to be the same.
    """

    token: str
    position: int = 0
    number: int = 0
    tail: bytes = b""

    def journal(self, identity: str) -> str:
        """The name by which the batch store knows the log."""
        return f"replay-{identity}-{self.token}"


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Checkpoint).decode


class Checkpoints:
    """The checkpoints of one destination. Each method is one round trip, and raises StoreUnavailableError.

    Args:
        pool: The batch store's Redis.
        destination: Its name.
    """

    def __init__(self, pool: RedisPool, destination: str) -> None:
        self._pool = pool
        self._destination = destination

    def load(self, identity: str) -> Checkpoint:
        """The checkpoint of a log; a new one, which is saved, where the log has none.

        Raises:
            DispatcherError: What Redis has is no checkpoint of this release.
        """
        key = self._key(identity)
        new = _encode(Checkpoint(token=token_hex(4)))
        _, current = self._pool.execute_many([("SET", key, new, "NX", "EX", _KEPT_SECONDS), ("GET", key)])
        try:
            return _decode(current)
        except msgspec.MsgspecError as error:
            raise DispatcherError(
                f"how far this log was replayed to {self._destination} cannot be read in Redis ({key}): it is not of "
                "this release, or is damaged; `--run NAME` begins anew, and sends again what was sent before"
            ) from error

    def save(self, identity: str, checkpoint: Checkpoint) -> None:
        """Save a checkpoint of what was put already: it must never be ahead of the store."""
        self._pool.execute("SET", self._key(identity), _encode(checkpoint), "EX", _KEPT_SECONDS)

    def _key(self, identity: str) -> str:
        return REPLAY.of(self._destination, identity)
