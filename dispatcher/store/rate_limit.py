"""The rate limit of a destination: a token bucket in Redis that all workers share (lua/rate_limit.lua)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from dispatcher.outcomes import Outcome, RetryAfter
from dispatcher.secrecy.safe_text import shorten
from dispatcher.store import script
from dispatcher.store.keys import RATE
from dispatcher.store.script import ScriptCaller

# The longest cooldown, in seconds, that workers wait for. A longer one is left to the breaker, which holds no worker.
_SHORT_COOLDOWN_SECONDS: Final = 5.0
# Seconds after which a permit is asked for again, where Redis did not say when.
_UNKNOWN_SECONDS: Final = 1.0
# The longest wait that is passed on: as long as the longest cooldown.
_MAX_WAIT_SECONDS: Final = 86_400.0
# Characters of an error that are kept.
_ERROR_LENGTH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """The right to send one request, or word of how long to wait for that right. It may be left unused.

    Args:
        is_granted: Whether there is that right.
        wait_seconds: To wait before the request is sent; without the right, before it is worth asking again.
        spacing_seconds: Between two permits at the rate that holds now.
        slowdowns: How often the rate had been slowed down before.
        is_slowed: Whether the rate is slower than it was set to.
        error: Why it was not granted, where the rate is not known.
    """

    is_granted: bool = True
    wait_seconds: float = 0.0
    spacing_seconds: float = 0.0
    slowdowns: int = 0
    is_slowed: bool = False
    error: str = ""


class Rate(Protocol):
    """Gives permits to send. Safe in threads; its methods may block for as long as Redis may take to answer."""

    def take(self, max_wait_seconds: float) -> Permit:
        """Take the next permit, if it comes within ``max_wait_seconds``; otherwise nothing must be sent."""
        ...

    def is_valid(self, permit: Permit) -> bool:
        """Whether a permit that was waited for still holds: not where the destination throttled in the meantime."""
        ...

    def record(self, permit: Permit, outcome: Outcome) -> Outcome:
        """Learn from what became of a request: throttling slows the rate down, other answers bring it back.

        Returns:
            The outcome to record: ``rate_limited`` instead of ``throttled`` where sending slower is enough.
        """
        ...


class SharedRate:
    """The rate of one destination, which all workers keep together. Safe in threads; made in the process that uses it.

    While Redis does not answer, no worker gets a permit: events wait, rather than that the rate is exceeded. In any
    length of time, at most ``burst`` requests and ``per_second`` for each of its seconds get one; where Redis loses
    what it knew of the rate, another ``burst``.

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
        self.per_second = per_second
        self.burst = burst
        self._scripts = ScriptCaller(pool, clock)

    def take(self, max_wait_seconds: float) -> Permit:
        """Take the next permit, in one round trip. Not granted, with the reason, where Redis does not answer."""
        arguments = {
            "command": "take",
            "per_second": self.per_second,
            "burst": self.burst,
            "max_wait_ms": int(min(max_wait_seconds, _MAX_WAIT_SECONDS) * 1000),
        }
        try:
            wait, granted, slowdowns, factor = self._call(arguments)
        except StoreUnavailableError as error:
            return Permit(is_granted=False, wait_seconds=_UNKNOWN_SECONDS, error=f"the rate is not known: {error}")
        return Permit(
            is_granted=bool(granted),
            wait_seconds=float(wait) / 1000,
            spacing_seconds=1 / (self.per_second * float(factor)),
            slowdowns=int(slowdowns),
            is_slowed=float(factor) < 1,
        )

    def is_valid(self, permit: Permit) -> bool:
        """Whether a permit that was waited for still holds. Not where Redis does not answer."""
        try:
            return int(self._pool.execute("HGET", RATE.of(self._destination), "slowdowns") or 0) <= permit.slowdowns
        except StoreUnavailableError:
            return False

    def record(self, permit: Permit, outcome: Outcome) -> Outcome:
        """Slow the rate down by half where the destination throttled, to a 64th at the least, and pause as it asked.

        An event that is delivered or refused brings the rate back, from nothing to all of it in a minute. A request
        without an answer, or a failure, changes nothing. A long cooldown, and a destination that throttles at the
        slowest rate, are left to the breaker.
        """
        if not isinstance(outcome, RetryAfter):
            if permit.is_slowed:
                self._try({"command": "increase"})
            return outcome
        if outcome.retry_class != "throttled":
            return outcome
        asked = outcome.seconds or 0.0
        is_slowed = self._try(
            {
                "command": "decrease",
                "slowdowns": permit.slowdowns,
                "asked_ms": int(asked * 1000),
                "error": shorten(outcome.error, _ERROR_LENGTH),
            }
        )
        is_enough = is_slowed and asked <= _SHORT_COOLDOWN_SECONDS
        return replace(outcome, retry_class="rate_limited") if is_enough else outcome

    def _try(self, arguments: dict[str, Any]) -> bool:
        try:
            return bool(self._call(arguments))
        except StoreUnavailableError:
            return False

    def _call(self, arguments: dict[str, Any]) -> Any:
        return self._scripts.call(script.RATE_LIMIT, self._destination, arguments)
