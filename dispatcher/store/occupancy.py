"""Occupancy: which destinations have something in Redis at all, asked with one command where none has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from dispatcher.errors import StoreUnavailableError

if TYPE_CHECKING:
    from dispatcher.connections.redis_pool import RedisPool
    from dispatcher.store.keys import Key


def find_occupied(pool: RedisPool, destinations: Iterable[str], keys: Sequence[Key]) -> list[str]:
    """Find the destinations that have at least one of some keys. Blocks for two round trips at the most.

    At rest this is one command, however many destinations there are; of a Redis Cluster, whose commands take the keys
    of one slot, it is one for each destination.

    Args:
        pool: The connections to use.
        destinations: Their names.
        keys: Those without a ``<word>`` in their names.

    Returns:
        The names, in order. All of them where Redis answers with an error: then nothing is known.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    names = list(destinations)
    commands = [("EXISTS", *(key.of(name) for key in keys)) for name in names]
    try:
        if not pool.is_cluster and not pool.execute("EXISTS", *(key.of(name) for name in names for key in keys)):
            return []
        answers = pool.execute_many(commands)
    except StoreUnavailableError as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        return names
    return [name for name, exists in zip(names, answers, strict=True) if exists]
