"""Bell turn: which worker's bell looks, and into which slots of which destinations."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from hashlib import sha1
from typing import TYPE_CHECKING, Final

from redis.exceptions import ResponseError

from dispatcher.errors import StoreUnavailableError
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import SINCE, STATES, TURN
from dispatcher.store.occupancy import find_occupied
from dispatcher.store.slots import find_slots, forget_empty, slot_names

if TYPE_CHECKING:
    from dispatcher.connections.redis_pool import RedisPool

# Rounds for which a turn is kept, less a tenth of one: so its holder asks for the next one first.
_KEPT_ROUNDS: Final = 3
# Rounds after which a bell that has not got the turn asks again, and takes it over if its holder has died.
_OTHERS_ROUNDS: Final = (2.0, 4.0)
# Rounds after which every slot is looked at, even where it has no batch: damage in Redis is found so, and slots that
# are in use although they are not set.
_ALL_ROUNDS: Final = 60


class BellTurn:
    """The turn of one worker's bell, among all that ring for the same destinations. For one thread.

    Bells that ring for others have a turn of their own: during a deploy, workers may know different destinations.

    Args:
        pool: The connections to use.
        slots: The destinations that the bell rings for, and how many slots each is set to have.
        every_seconds: From one round to the next.
    """

    def __init__(self, pool: RedisPool, slots: Mapping[str, int], *, every_seconds: float) -> None:
        self._pool = pool
        self._slots = {name: slots[name] for name in sorted(slots)}
        self._names: list[str] = []
        self._every = every_seconds
        names = "\n".join(self._slots).encode()
        self._key = TURN.of(NOT_TAKEN, sha1(names, usedforsecurity=False).hexdigest()[:12])
        self._kept_until = self._all_at = float("-inf")

    def take(self) -> bool:
        """Whether this bell is to look now. Blocks for a round trip, but while it keeps the turn.

        Raises:
            StoreUnavailableError: Redis does not answer. One that refuses to note the turn, as at maxmemory, lets every
                bell look.
        """
        now = time.monotonic()
        if now < self._kept_until:
            return True
        milliseconds = max(1, int((_KEPT_ROUNDS - 0.1) * self._every * 1000))
        try:
            is_taken = bool(self._pool.execute("SET", self._key, 1, "NX", "PX", milliseconds))
        except StoreUnavailableError as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            return True
        if is_taken:
            self._kept_until = now + (_KEPT_ROUNDS - 0.5) * self._every
        return is_taken

    def give_up(self) -> None:
        """Leave the next turn to others: this bell cannot ring. Does not ask Redis, where the turn ends by itself."""
        self._kept_until = float("-inf")

    @property
    def others_seconds(self) -> float:
        """How long a bell without the turn waits until it asks again: not all of them at once."""
        return self._every * random.uniform(*_OTHERS_ROUNDS)

    def find_slots(self) -> list[str]:
        """Find the slots that may have something to ring for, by their names. Blocks for two round trips at the most.

        These have a batch that is not settled; all have to be looked at once in a while. Then those that are empty and
        not set any more are forgotten.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        now = time.monotonic()
        if now >= self._all_at:
            try:
                forget_empty(self._pool, self._slots)
            except StoreUnavailableError as error:
                if not isinstance(error.__cause__, ResponseError):
                    raise
            self._names = slot_names(find_slots(self._pool, self._slots))
            self._all_at = now + _ALL_ROUNDS * self._every
            return self._names
        return find_occupied(self._pool, self._names, (SINCE, *STATES))
