"""Controls: what the page's buttons do. Each says what it would do, with a count, before it does it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from dispatcher.errors import DispatcherError
from dispatcher.monitoring.units import count_text, duration_text
from dispatcher.secrecy.safe_text import one_line
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN, Counts
from dispatcher.store.dead_letter import DeadLetter, DeadLetterFilter
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.levers import Levers
from dispatcher.store.operator_note import note_command
from dispatcher.store.waiting_batches import WaitingBatches

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.connections.redis_pool import RedisPool

logger = logging.getLogger(__name__)

# Dead letters that one press of a button replays or drops, the oldest first: a few seconds' work.
_MAX_LETTERS: Final = 5_000
# Dead letters in one step of a replay or a drop, and bytes of their events.
_STEP_EVENTS: Final = 100
_STEP_BYTES: Final = 4_000_000
# Dead letters, or batches, in a list.
_LISTED: Final = 50

Action = Literal["retry", "pause", "resume", "replay", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants done.

    Args:
        action: Which button.
        destination: Of which destination.
        reason: replay, drop: only dead letters with this reason; empty: all. pause: why, for those who look.
        seconds: pause: when it ends by itself; None: when somebody resumes it.
        at_once: retry: also where the destination has asked to be left alone.
        count: replay, drop: at most so many dead letters, those that were shown; None before that.
    """

    action: Action
    destination: str
    reason: str = ""
    seconds: float | None = None
    at_once: bool = False
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an order would do.

    Args:
        words: In a sentence or two.
        count: How many events it is about, or batches where it says so.
        can_be_done: Whether there is anything to do, and nothing forbids it.
    """

    words: str
    count: int
    can_be_done: bool


class UnknownDestinationError(DispatcherError):
    """Neither the settings nor the ledger know the destination."""


class Controls:
    """Plans orders and carries them out, and reads dead letters. Safe in threads; every method blocks for Redis.

    Each raises StoreUnavailableError where Redis does not answer.

    Args:
        pool: The batch store's.
    """

    def __init__(self, pool: RedisPool) -> None:
        self._pool = pool
        self._levers = Levers(pool)
        self._letters = DeadLetters(pool)
        self._store = BatchStore(pool)
        self._waiting = WaitingBatches(pool)

    def plan(self, order: Order, settings: Settings) -> Plan:
        """What an order would do now. Changes nothing.

        Args:
            order: What is wanted.
            settings: Whether anybody would deliver what is replayed.
        """
        name, counts = order.destination, self._store.counts([order.destination])[order.destination]
        if order.action in ("replay", "drop"):
            return self._plan_letters(order, counts, settings)
        if name == NOT_TAKEN:
            return Plan(words="Nothing is ever delivered to emit: there is nothing to do.", count=0, can_be_done=False)
        waits = f"{count_text(counts.waiting, 'event')} {'waits' if counts.waiting == 1 else 'wait'} for it"
        if order.action == "pause":
            end = "somebody resumes it" if order.seconds is None else f"{duration_text(order.seconds)} from now"
            under_way = f" What is under way ({count_text(counts.claimed, 'event')}) ends as it would." * bool(
                counts.claimed
            )
            words = f"Workers deliver nothing more to {name} until {end}. Events are accepted, and wait; {waits} now."
            words += under_way
            return Plan(words=words, count=counts.waiting, can_be_done=True)
        if order.action == "resume":
            if counts.pause is None:
                return Plan(words=f"{name} is not paused.", count=0, can_be_done=False)
            return Plan(words=f"Workers deliver to {name} again; {waits}.", count=counts.waiting, can_be_done=True)
        return self._plan_retry(order, counts)

    def carry_out(self, order: Order, settings: Settings, *, user: str) -> str:
        """Do it, note who did it, and return what came of it in a sentence.

        Args:
            order: What is wanted. Of dead letters at most ``count``: others may have died meanwhile.
            settings: Where a destination's batches are described.
            user: Who wants it, by the login.
        """
        name, done = order.destination, ""
        if order.action == "pause":
            until_ms = self._levers.pause(name, seconds=order.seconds, reason=order.reason)
            done = "pause" if until_ms is None else f"pause: for {duration_text(until_ms / 1000 - time.time() + 0.5)}"
            words = f"{name} is paused; its events wait."
        elif order.action == "resume":
            was_paused = self._levers.resume(name)
            done = "resume" if was_paused else ""
            words = f"{name} is resumed; workers deliver what waits." if was_paused else f"{name} was not paused."
        elif order.action == "retry":
            found = self._levers.retry(name, at_once=order.at_once)
            if found.outcome == "retried":
                batches = count_text(found.batches, "batch", "batches")
                # Behind an open breaker most are due already.
                closed = "the breaker closed, " if found.breaker_was_open else ""
                done = f"retry: {closed}{batches} came due"
                words = f"{batches} of {name} came due now."
                if found.breaker_was_open:
                    words = f"The breaker of {name} is closed: all that is parked is tried now."
            else:
                why = "is paused" if found.outcome == "paused" else "asks to be left alone"
                words = f"Nothing was changed: {name} {why}."
        else:
            number = self._move_letters(order, settings)
            done = f"dead {order.action}: {count_text(number, 'dead letter')}"
            fate = "on the way" if order.action == "replay" else "dropped"
            words = f"{count_text(number, 'dead letter')} of {name} {fate}."
        if done:
            logger.info("%s did to %s: %s", one_line(user), name, done)
            note_command(self._pool, name, done, user=f"{user} on the board")
        return words

    def list_waiting(self, destination: str) -> dict[str, Any]:
        """The oldest batches that wait, without their events.

        Args:
            destination: For which they wait.
        """
        found = list(islice(self._waiting.select(destination), _LISTED + 1))
        return {
            "batches": [
                {**asdict(batch), "example": one_line(batch.example), "error": one_line(batch.error) or None}
                | {"task_id": f"{destination}.{batch.id}"}
                for batch in found[:_LISTED]
            ],
            "more": len(found) > _LISTED,
        }

    def list_letters(self, destination: str, reason: str) -> dict[str, Any]:
        """The oldest dead letters, without their events' data.

        Args:
            destination: Whose.
            reason: Only with this one; empty: all.
        """
        wanted = DeadLetterFilter(reason=reason or None)
        found = list(islice(self._letters.select(destination, wanted), _LISTED + 1))
        return {"letters": [_summary(letter) for letter in found[:_LISTED]], "more": len(found) > _LISTED}

    def show_letter(self, destination: str, letter_id: str, *, user: str) -> dict[str, Any] | None:
        """One dead letter with its event, which is logged; None where it is gone.

        Args:
            destination: Whose.
            letter_id: Which.
            user: Who looks, by the login.
        """
        letter = next(self._letters.select(destination, DeadLetterFilter(ids=[letter_id])), None)
        logger.info("%s looked at dead letter %s of %s", one_line(user), one_line(letter_id), destination)
        if letter is None:
            return None
        event: Any = letter.payload.decode("utf-8", "replace") if letter.event is None else json.loads(letter.payload)
        return {**_summary(letter), "answer": letter.answer or None, "event": event}

    def _plan_retry(self, order: Order, counts: Counts) -> Plan:
        name = order.destination
        if counts.pause is not None:
            return Plan(words=f"{name} is paused: resume it first.", count=0, can_be_done=False)
        held = counts.breaker.cause == "throttled" and counts.breaker.state == "open"
        if (held or (counts.rate is not None and counts.rate.until_ms is not None)) and not order.at_once:
            words = f"{name} has asked to be left alone. “At once” tries it all the same."
            return Plan(words=words, count=counts.parked, can_be_done=False)
        closed = "The breaker is closed, and w" if counts.breaker.state != "closed" else "W"
        words = f"{closed}hat is parked for {name} is tried at once: {count_text(counts.parked, 'event')}."
        return Plan(words=words, count=counts.parked, can_be_done=bool(counts.parked or closed != "W"))

    def _plan_letters(self, order: Order, counts: Counts, settings: Settings) -> Plan:
        name, which = order.destination, f" with the reason {one_line(order.reason)}" if order.reason else ""
        if order.action == "replay" and name == NOT_TAKEN:
            words = "What emit could not take is only described, so there is nothing to replay."
            return Plan(words=words, count=0, can_be_done=False)
        if order.action == "replay" and name not in settings.destinations:
            words = f"{name} is not in the settings, so nobody would deliver what is replayed."
            return Plan(words=words, count=0, can_be_done=False)
        number = sum(1 for _ in self._wanted(order))
        limit = " (the oldest; press again for more)" if number == _MAX_LETTERS else ""
        letters = f"{count_text(number, 'dead letter')} of {name}{which}{limit}"
        elsewhere = counts.dead_filed + counts.dead_unkept
        note = f" {elsewhere:,} more are not in Redis, and stay as they are." if elsewhere and not order.reason else ""
        if not number:
            return Plan(words=f"{name} has no dead letter{which} to {order.action}.{note}", count=0, can_be_done=False)
        if order.action == "drop":
            words = f"Deletes {letters} for good; the ledger counts them as filtered.{note}"
        else:
            words = f"Delivers {letters} again, with their own ids and times. What fails again dies again.{note}"
        return Plan(words=words, count=number, can_be_done=True)

    def _wanted(self, order: Order) -> Iterator[DeadLetter]:
        found = self._letters.select(order.destination, DeadLetterFilter(reason=order.reason or None))
        chosen = found if order.action == "drop" else (letter for letter in found if letter.can_be_replayed)
        return islice(chosen, _MAX_LETTERS if order.count is None else min(order.count, _MAX_LETTERS))

    def _move_letters(self, order: Order, settings: Settings) -> int:
        """Replay or drop them step by step. Returns how many it were: others may take some meanwhile."""
        table = settings.destinations.get(order.destination)
        limits = (_STEP_EVENTS, _STEP_BYTES)
        if order.action == "replay" and table is not None:
            limits = (table.batch_events, table.batch_bytes)
        done, size, step = 0, 0, list[DeadLetter]()
        for letter in [*self._wanted(order), None]:
            if step and (letter is None or len(step) >= limits[0] or size + len(letter.payload) > limits[1]):
                if order.action == "replay":
                    done += self._letters.replay(step)
                else:
                    done += self._letters.drop(order.destination, [one.id for one in step])
                size, step = 0, []
            if letter is not None:
                size, step = size + len(letter.payload), [*step, letter]
        return done


def _summary(letter: DeadLetter) -> dict[str, Any]:
    event = letter.event
    return {
        "id": letter.id,
        "died_ms": letter.died_ms,
        "event_id": None if event is None else event.id,
        "name": "?" if event is None else one_line(event.name),
        "reason": one_line(letter.reason),
        "error": one_line(letter.error),
        "attempts": letter.attempts,
        "count": letter.count,
        "can_be_replayed": letter.can_be_replayed,
    }
