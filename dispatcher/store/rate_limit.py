"""Rate: how fast a destination may be sent to. What keeps it is shared by all workers, in Redis (rate.lua)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.outcomes import Outcome, RetryAfter
from dispatcher.store import script
from dispatcher.store.keys import RATE
from dispatcher.store.script import ScriptCaller

# Seconds of rest that workers wait for. What asks for more is left to the breaker, which holds no worker.
_SHORT_REST_SECONDS: Final = 5.0
# Seconds after which a turn is asked for again, where Redis did not say when.
_UNKNOWN_SECONDS: Final = 1.0
# The longest patience that is passed on: as long as the longest rest.
_MOST_PATIENCE_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The right to send one request; it may be left unused.

    Args:
        seconds: To wait before the request is sent; where it was not taken, before it is worth asking again.
        taken: Whether there is that right.
        spacing: Seconds between two turns at the rate that holds now.
        slowdowns: How often the rate had been slowed down before.
        slowed: Whether the rate is slower than it was set to.
        error: Why it was not taken, where nobody knows whose turn it is.
    """

    seconds: float = 0.0
    taken: bool = True
    spacing: float = 0.0
    slowdowns: int = 0
    slowed: bool = False
    error: str = ""


class Rate(Protocol):
    """Whose turn it is. Safe in threads; its methods may block for as long as Redis may take to answer."""

    def take(self, patience: float) -> Turn:
        """The next turn, taken if it is at most ``patience`` seconds away; otherwise nothing must be sent."""
        ...

    def stands(self, turn: Turn) -> bool:
        """Whether a turn that was waited for is still one: not where the destination throttled in the meantime."""
        ...

    def heed(self, turn: Turn, outcome: Outcome) -> Outcome:
        """Learn from what became of a request: throttled ones slow the rate down, others bring it back by and by.

        Returns:
            The outcome to record: a throttled one becomes rate_limited where sending slower is enough.
        """
        ...


class SharedRate:
    """The rate of one destination, which all workers keep together. Safe in threads; made in the process that uses it.

    While Redis does not answer nobody gets a turn: events wait, rather than that the rate is exceeded. In any stretch
    of time at most ``burst`` and ``per_second`` for each of its seconds get one; where Redis loses what it knew of the
    rate, another ``burst``.

    Args:
        pool: The connections to use.
        destination: Whose rate it is.
        per_second: Requests a second; may be less than one.
        burst: Requests at once after a time without any; at least 1, which spreads them evenly.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(
        self,
        pool: RedisPool,
        destination: str,
        *,
        per_second: float,
        burst: int = 1,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._pool = pool
        self._destination = destination
        self._per_second = per_second
        self._burst = burst
        self._scripts = ScriptCaller(pool, clock)

    def take(self, patience: float) -> Turn:
        """The next turn, in one round trip. Not taken, with the reason, where Redis does not answer."""
        patience_ms = int(min(patience, _MOST_PATIENCE_SECONDS) * 1000)
        try:
            wait, taken, slowdowns, share = self._run(
                "take", per_second=self._per_second, burst=self._burst, max_wait_ms=patience_ms
            )
        except StoreUnavailableError as error:
            return Turn(seconds=_UNKNOWN_SECONDS, taken=False, error=f"nobody knows whose turn it is: {error}")
        return Turn(
            seconds=float(wait) / 1000,
            taken=bool(taken),
            spacing=1 / (self._per_second * float(share)),
            slowdowns=int(slowdowns),
            slowed=float(share) < 1,
        )

    def stands(self, turn: Turn) -> bool:
        """Whether a turn that was waited for is still one. Not where Redis does not answer."""
        try:
            return int(self._pool.execute("HGET", RATE.of(self._destination), "slowdowns") or 0) <= turn.slowdowns
        except StoreUnavailableError:
            return False

    def heed(self, turn: Turn, outcome: Outcome) -> Outcome:
        """Slow down by half where the destination throttled, at the most to a 64th of the rate, and rest as it asked.

        What is delivered or refused brings the rate back, from nothing to all of it in a minute. No answer, or a
        failure, changes nothing. A long rest, and a destination that throttles at the slowest rate, are left to the
        breaker.
        """
        if not isinstance(outcome, RetryAfter):
            if turn.slowed:
                self._try("increase")
            return outcome
        if outcome.retry_class != "throttled":
            return outcome
        asked = outcome.seconds or 0.0
        slowed = self._try("decrease", slowdowns=turn.slowdowns, asked_ms=int(asked * 1000), error=outcome.error[:500])
        return replace(outcome, retry_class="rate_limited") if slowed and asked <= _SHORT_REST_SECONDS else outcome

    def _try(self, command: str, **arguments: Any) -> Any:
        try:
            return self._run(command, **arguments)
        except StoreUnavailableError:
            return None

    def _run(self, command: str, **arguments: Any) -> Any:
        return self._scripts.call(script.RATE_LIMIT, self._destination, {"command": command, **arguments})
