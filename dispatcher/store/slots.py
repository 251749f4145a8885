"""Slots: the parts into which a destination's batches are spread, so that several servers of a Redis Cluster have them.

To the scripts a slot is what a destination is: it has keys of its own, on one server. Slot 0 has the destination's own
keys, and those that it has only once: its rate limit, its workers, what people did to it, and which other slots are in
use. A journal belongs to one slot for as long as it exists, so that its positions and its order are one slot's matter.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final
from zlib import crc32

from redis.exceptions import ResponseError

from dispatcher.errors import StoreUnavailableError
from dispatcher.store import script
from dispatcher.store.keys import RETIRED, SINCE, SLOTS
from dispatcher.store.script import ScriptCaller

if TYPE_CHECKING:
    from dispatcher.connections.redis_pool import RedisPool

# Seconds after which a slot that is not set any more, and is empty, is forgotten: a day more than the store remembers
# how far a journal was put, so that no relay can still have a journal there.
_FORGET_SECONDS: Final = 8 * 24 * 3600
_WITH_SLOT: Final = re.compile(r"(.+)@([1-9]\d{0,3})")


def slot_name(destination: str, slot: int) -> str:
    """What the keys of a slot have in the place of the destination: ``segment#3``; of slot 0 the destination itself."""
    return f"{destination}#{slot}" if slot else destination


def split_name(name: str) -> tuple[str, int]:
    """What ``slot_name`` made, as the destination and the slot."""
    destination, _, slot = name.partition("#")
    return (destination, int(slot)) if slot.isdecimal() else (name, 0)


def with_slot(word: str, slot: int) -> str:
    """The name of a batch, or of a dead letter, with its slot: ``7-a-0@3``; in slot 0 as it is."""
    return f"{word}@{slot}" if slot else word


def split_slot(word: str) -> tuple[str, int]:
    """What ``with_slot`` made of a name, as the name and the slot."""
    found = _WITH_SLOT.fullmatch(word)
    return (word, 0) if found is None else (found[1], int(found[2]))


def slot_of(journal: str, number: int) -> int:
    """The slot of a journal that is in none yet, by its name: the same in every process, with so many slots."""
    return crc32(journal.encode()) % number if number > 1 else 0


def read_slots(members: Iterable[bytes | str]) -> list[int]:
    """The slots in use as slot 0 lists them, itself first, without what somebody's hand has put there."""
    words = (one if isinstance(one, str) else one.decode("utf-8", "replace") for one in members)
    return [0, *sorted({int(word) for word in words if word.isdecimal()} - {0})]


def slots_in_use(pool: RedisPool, destination: str) -> list[int]:
    """The slots of a destination in which something may be: slot 0 first. Blocks for a round trip.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    return read_slots(pool.execute("ZRANGE", SLOTS.of(destination), 0, -1))


def find_slots(pool: RedisPool, numbers: Mapping[str, int]) -> dict[str, list[int]]:
    """The slots of destinations that have to be looked at: those in use, and those that are set.

    Blocks for a round trip.

    Args:
        pool: The connections to use.
        numbers: How many slots are set, by destination.

    Raises:
        StoreUnavailableError: Redis does not answer. Where it answers with an error, those that are set are returned.
    """
    commands = [("ZRANGE", SLOTS.of(name), 0, -1) for name in numbers]
    try:
        answers = pool.execute_many(commands)
    except StoreUnavailableError as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        answers = [[] for _ in commands]
    return {
        name: sorted({*range(number), *read_slots(answer)})
        for (name, number), answer in zip(numbers.items(), answers, strict=True)
    }


def forget_empty(pool: RedisPool, numbers: Mapping[str, int], *, clock: Callable[[], float] = time.time) -> list[str]:
    """Forget slots that are not set any more, in which nothing is, and which no relay has used for a while.

    Slot 0 takes over what their ledgers say. Blocks for some round trips, of which there is one where no slot is to be
    forgotten. Several processes may do so at once; one that is killed in the middle leaves the rest to the next.

    Args:
        pool: The connections to use.
        numbers: How many slots are set, by destination.
        clock: Gives the time in seconds since 1970.

    Returns:
        The names of the slots that were forgotten.

    Raises:
        StoreUnavailableError: Redis does not answer.
    """
    before = int((clock() - _FORGET_SECONDS) * 1000)
    old = pool.execute_many([("ZRANGEBYSCORE", SLOTS.of(name), "-inf", before) for name in numbers])
    scripts, forgotten = ScriptCaller(pool), []
    for (destination, number), slots in zip(numbers.items(), old, strict=True):
        for slot in read_slots(slots)[1:]:
            name = slot_name(destination, slot)
            # The ledger is moved in two steps, as both may be on different servers: nothing counts twice, since only
            # the process that takes the slot out of the set adds it.
            ledger = scripts.call(script.RETIRE, name, {}) if slot >= number else None
            if ledger is None:
                continue
            fields = {ledger[at].decode(): int(ledger[at + 1]) for at in range(0, len(ledger), 2)}
            if scripts.call(script.ABSORB, destination, {"slot": slot, "ledger": fields}):
                forgotten.append(name)
            pool.execute("DEL", RETIRED.of(name))
            if pool.execute("EXISTS", SINCE.of(name)):  # something was put at this very moment
                scripts.call(script.OPEN_SLOT, destination, {"slot": slot})
    return forgotten


def slot_names(slots: Mapping[str, Iterable[int]]) -> list[str]:
    """The names of all of these slots, destination by destination."""
    return [slot_name(name, slot) for name, of_name in slots.items() for slot in of_name]
