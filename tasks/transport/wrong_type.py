"""Wrong type: queues whose key holds something other than a list, so that nothing can be taken from them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger(__name__)

# Seconds until Redis is asked for such a key again.
_RETRY_SECONDS: Final = 1.0
# Seconds between two lines in the log about one key.
_QUIET_SECONDS: Final = 60.0


class WrongTypeKeys:
    """The keys that are left out for now: with one of them in a command, Redis takes from none of its keys."""

    def __init__(self) -> None:
        self._out_until: dict[str, float] = {}
        self._logged_at: dict[str, float] = {}

    def find(self, client: Redis, keys: Sequence[str]) -> bool:
        """Ask Redis which keys hold something other than a list, and leave these out for a second.

        Blocks for one answer a key. Raises what redis-py raises if Redis does not answer.

        Returns:
            Whether any key does.
        """
        wrong = [key for key in keys if not _is_list(client, key)]
        now = monotonic()
        for key in wrong:
            self._out_until[key] = now + _RETRY_SECONDS
            if now - self._logged_at.get(key, now - _QUIET_SECONDS) >= _QUIET_SECONDS:
                self._logged_at[key] = now
                logger.error(
                    "the key %s holds something other than a list, so nothing comes through this queue: something else "
                    "writes to the broker; see TYPE and delete or rename it. Other queues are served meanwhile",
                    key,
                )
        return bool(wrong)

    def without(self, keys: list[str]) -> list[str]:
        """The keys less those that are left out for now."""
        if not self._out_until:
            return keys
        now = monotonic()
        self._out_until = {key: until for key, until in self._out_until.items() if until > now}
        return [key for key in keys if key not in self._out_until]


def _is_list(client: Redis, key: str) -> bool:
    # Not by TYPE, which a worker with the least rights may not use.
    try:
        client.llen(key)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return False
    return True
