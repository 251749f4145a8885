"""Aside: queues in whose place Redis has something that is no list, so that nothing can be taken from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

# Seconds until such a key is asked for again.
_AGAIN_SECONDS: Final = 1.0
# Seconds between two lines in the log about one key.
_QUIET_SECONDS: Final = 60.0


class Aside:
    """Which keys are left out for now: with one of them among the others, Redis answers for none."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def take(self, client: Redis, keys: Sequence[str]) -> bool:
        """Ask Redis which keys are no lists, and leave these out for a while. Returns whether there is one. Blocks."""
        wrong = [key for key in keys if not _is_list(client, key)]
        now = monotonic()
        for key in wrong:
            self._until[key] = now + _AGAIN_SECONDS
            if now - self._said.get(key, now - _QUIET_SECONDS) >= _QUIET_SECONDS:
                self._said[key] = now
                logger.error(
                    "the key %s is no list, so nothing comes by this queue: something else writes to the broker; see "
                    "TYPE and delete or rename it. Other queues are served meanwhile",
                    key,
                )
        return bool(wrong)

    def without(self, keys: list[str]) -> list[str]:
        """The keys less those that are left out."""
        if not self._until:
            return keys
        now = monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return [key for key in keys if key not in self._until]


def _is_list(client: Redis, key: str) -> bool:
    # Not by TYPE, which the least rights of a worker do not have.
    try:
        client.llen(key)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return False
    return True
