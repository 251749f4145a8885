"""Scripts: the store's commands in Lua, each one atomic step in Redis.

A script gets its arguments by name, as one JSON object, and bytes such as packed events behind it. Each command is a
script of its own, made of the parts that it needs: Redis runs a script's whole text at each call, so that one script of
all commands takes a tenth longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

import msgspec
from redis.exceptions import NoScriptError

from dispatcher.connections.redis_pool import Command, RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.store.keys import prefix

_DIRECTORY: Final = files("dispatcher.store") / "lua"
_encode: Final = msgspec.json.Encoder().encode

# How often a call is sent: at first, after its script was loaded, and once more in a cluster in which a slot has got
# another server just then.
_TRIES: Final = 3

#: A destination or one of its slots, the arguments by name, and the bytes behind them.
Call = tuple[str, Mapping[str, Any], Sequence[bytes]]


class Script:
    """A Lua script.

    Args:
        parts: Its files in lua/, without the ending, in order.
    """

    def __init__(self, *parts: str) -> None:
        self.text: Final = b"\n".join((_DIRECTORY / f"{part}.lua").read_bytes() for part in parts)
        # Redis names scripts by their SHA-1.
        self._sha: Final = sha1(self.text, usedforsecurity=False).hexdigest()

    def command(self, destination: str, arguments: Mapping[str, Any], data: Sequence[bytes]) -> Command:
        """The Redis command that calls the script, by its SHA.

        Args:
            destination: Whose keys it uses: a destination, or one of its slots by its name.
            arguments: Its named arguments.
            data: Bytes that go behind them as they are, such as packed batches.
        """
        return ("EVALSHA", self._sha, 1, prefix(destination), _encode(arguments), *data)


class ScriptCaller:
    """Calls scripts on one Redis, and has it load them where it does not know them. Safe in threads and after a fork.

    Each method blocks up to the pool's timeout, and raises StoreUnavailableError where Redis does not answer: then what
    was asked may or may not have happened.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(self, pool: RedisPool, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._clock = clock

    def call(self, script: Script, destination: str, arguments: Mapping[str, Any], *data: bytes) -> Any:
        """Call a script once; it is loaded first if Redis does not know it. Blocks for the trip.

        Args:
            script: Which one.
            destination: Whose keys it uses.
            arguments: Its named arguments; they are sent as one JSON object.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        return self.call_many(script, [(destination, arguments, data)])[0]

    def call_many(self, script: Script, calls: Sequence[Call], *more: Command) -> list[Any]:
        """Call a script several times in one round trip, and carry out ``more`` commands behind.

        Args:
            script: Changes nothing when the same call comes twice: all may be sent again.
            calls: What each call gets.
            more: May come twice as well.

        Returns:
            The script's answers.
        """
        if not calls and not more:
            return []
        if self._clock is not None:
            now_ms = int(self._clock() * 1000)
            calls = [(name, {**arguments, "now": now_ms}, data) for name, arguments, data in calls]
        commands = [script.command(*call) for call in calls]
        loads: list[Command] = []
        for _ in range(_TRIES):
            try:
                answers = self._pool.execute_many([*loads, *commands, *more])
                return answers[len(loads) :][: len(commands)]
            except NoScriptError:
                # A Redis that has restarted, or that never saw the script: none of the calls has run, but ``more`` has;
                # of a cluster, another server may have run its calls. All scripts are loaded, so that commands come
                # twice at most once in a run of Redis, and not for each script.
                loads = [("SCRIPT", "LOAD", known.text) for known in SCRIPTS]
        raise StoreUnavailableError(f"Redis at {self._pool.url} forgets the scripts that it has just loaded")


def _of_the_store(command: str, *parts: str) -> Script:
    return Script("parts/head", *(f"parts/{part}" for part in parts), command)


PUT: Final = _of_the_store("put", "journal", "batch", "dead_letters", "ring")
PROGRESS: Final = _of_the_store("progress", "journal")
CLAIM: Final = _of_the_store("claim", "journal", "batch", "repair", "breaker", "ring", "next_ring")
SETTLE: Final = _of_the_store(
    "settle", "journal", "batch", "dead_letters", "no_mailboxes", "breaker", "ring", "next_ring"
)
SETTLE_POSTED: Final = _of_the_store(
    "settle", "journal", "batch", "dead_letters", "mailboxes", "breaker", "ring", "next_ring"
)
FETCH_POSTED: Final = _of_the_store("fetch_posted", "dead_letters", "mailboxes")
ACKNOWLEDGE: Final = _of_the_store("acknowledge", "dead_letters", "mailboxes")
EXPIRE_POSTED: Final = _of_the_store("expire_posted", "dead_letters", "mailboxes")
DUE: Final = _of_the_store("due", "journal", "batch", "repair", "breaker", "ring")
COUNTS: Final = _of_the_store("counts", "dead_letters")
REVIVE: Final = _of_the_store("revive", "batch", "dead_letters")
DROP: Final = _of_the_store("drop", "dead_letters")
OVERDUE: Final = _of_the_store("overdue", "dead_letters")
FILED: Final = _of_the_store("filed", "dead_letters")
FORGET_FILED: Final = _of_the_store("forget_filed", "dead_letters")
TRANSFER: Final = _of_the_store("transfer", "journal", "batch", "dead_letters")
REPLACE_EVENTS: Final = _of_the_store("replace_events")
ANNOUNCE: Final = _of_the_store("announce")
PAUSE: Final = _of_the_store("pause", "breaker")
RETRY: Final = _of_the_store("retry", "breaker")
NOTE: Final = _of_the_store("note")
OPEN_SLOT: Final = _of_the_store("open_slot", "breaker")
FOLLOW_PAUSE: Final = _of_the_store("follow_pause")
RETIRE: Final = _of_the_store("retire")
ABSORB: Final = _of_the_store("absorb")
REPEATS: Final = _of_the_store("repeats")
DUPLICATES: Final = _of_the_store("duplicates")
DEPRECATED_CALLS: Final = _of_the_store("deprecated_calls")
RATE_LIMIT: Final = Script("rate_limit")

#: All of them.
SCRIPTS: Final = (
    PUT,
    PROGRESS,
    CLAIM,
    SETTLE,
    SETTLE_POSTED,
    FETCH_POSTED,
    ACKNOWLEDGE,
    EXPIRE_POSTED,
    DUE,
    COUNTS,
    REVIVE,
    DROP,
    OVERDUE,
    FILED,
    FORGET_FILED,
    TRANSFER,
    REPLACE_EVENTS,
    ANNOUNCE,
    PAUSE,
    RETRY,
    NOTE,
    OPEN_SLOT,
    FOLLOW_PAUSE,
    RETIRE,
    ABSORB,
    REPEATS,
    DUPLICATES,
    DEPRECATED_CALLS,
    RATE_LIMIT,
)
