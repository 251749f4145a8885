"""Levers: what an operator decides about a destination while the workers run: pause, resume, try again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from dispatcher.store import script
from dispatcher.store.script import ScriptCaller
from dispatcher.store.slots import slot_name, slots_in_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.connections.redis_pool import RedisPool

# Batches that come due in one step, which keeps Redis from others for some ten milliseconds.
_STEP: Final = 5_000
# Characters of a reason that are kept; it stands in a line of `dispatcher status`.
_REASON_LENGTH: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What came of the wish to try again.

    Args:
        outcome: retried: all that is parked is due now. paused, throttled: nothing was changed, since somebody has
            paused the destination, or it has asked to be left alone.
        batches: How many batches have come due.
        breaker_was_open: Whether the breaker was open, and is closed now.
        until_ms: When the pause or the time that was asked for ends, in milliseconds since 1970; None without an end.
        reason: Of the pause, or what the destination said.
    """

    outcome: Literal["retried", "paused", "throttled"]
    batches: int = 0
    breaker_was_open: bool = False
    until_ms: int | None = None
    reason: str = ""


class Levers:
    """The levers of every destination in one Redis. Safe in threads and after a fork.

    What they set is kept in Redis, so that it holds for all workers, also for those that start later. Each method
    blocks up to the pool's timeout, and raises StoreUnavailableError where Redis does not answer: then it may or may
    not have happened, or in some slots of the destination only, and it is harmless to call it again.

    Args:
        pool: The connections to use.
        clock: Gives the time in seconds since 1970, for tests. None: Redis' own clock, which all hosts share.
    """

    def __init__(self, pool: RedisPool, *, clock: Callable[[], float] | None = None) -> None:
        self._pool = pool
        self._scripts = ScriptCaller(pool, clock)

    def pause(self, destination: str, *, seconds: float | None = None, reason: str = "") -> int | None:
        """Have workers deliver nothing more to a destination, once they have ended what is under way.

        Events are put as before and wait. To pause it again changes the end and the reason.

        Args:
            destination: Its name.
            seconds: When the pause ends by itself; None: when somebody resumes it.
            reason: For those who look at the status.

        Returns:
            When the pause ends, in milliseconds since 1970; None without an end.
        """
        arguments = {
            "for_ms": 0 if seconds is None else max(1, int(seconds * 1000)),
            "reason": reason[:_REASON_LENGTH],
        }
        # Slot 0 first: from then on a slot that comes into use is paused too, and the others are known after that.
        ends = int(self._scripts.call(script.PAUSE, destination, arguments)[1]) or None
        for slot in slots_in_use(self._pool, destination)[1:]:
            self._scripts.call(script.PAUSE, slot_name(destination, slot), arguments)
        return ends

    def resume(self, destination: str) -> bool:
        """End a pause; what waits is delivered then, as the breaker lets it. Returns whether there was one."""
        was = bool(self._scripts.call(script.PAUSE, destination, {"resume": True})[0])
        for slot in slots_in_use(self._pool, destination)[1:]:
            was = bool(self._scripts.call(script.PAUSE, slot_name(destination, slot), {"resume": True})[0]) or was
        return was

    def retry(self, destination: str, *, at_once: bool = False) -> Retried:
        """Close the breaker, and have all that is parked come due: bells ring for it within a second or so.

        What a worker is delivering stays with that worker. No attempt is burnt.

        Args:
            destination: Its name.
            at_once: Also where the destination has asked to be left alone for a while.
        """
        batches, was_open = 0, False
        for slot in slots_in_use(self._pool, destination):
            is_over = False
            while not is_over:
                # In steps, in each of which what it has to be safe against is looked at again.
                arguments = {"at_once": at_once, "limit": _STEP}
                answer = self._scripts.call(script.RETRY, slot_name(destination, slot), arguments)
                outcome = answer[0].decode()
                if outcome == "retried":
                    batches += int(answer[1])
                    was_open = was_open or bool(answer[2])
                    is_over = int(answer[1]) < _STEP
                elif not batches:
                    return Retried(outcome=outcome, until_ms=int(answer[1]) or None, reason=(answer[2] or b"").decode())
                else:
                    return Retried(outcome="retried", batches=batches, breaker_was_open=was_open)
        return Retried(outcome="retried", batches=batches, breaker_was_open=was_open)
