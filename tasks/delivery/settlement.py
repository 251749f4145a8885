"""Settlement: what is recorded of a batch, and what its breaker is told, from the outcome of each event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.event import decode
from dispatcher.outcomes import EXPIRED, Dead, Delivered, Filtered, Outcome, Posted, RetryAfter
from dispatcher.secrecy.quoted_values import mask_values, values_of
from dispatcher.secrecy.safe_text import foreign_text
from dispatcher.store.claim import Claim
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.settlement import BreakerResult, BreakerSignal, PostedEvent, Settlement
from dispatcher.tasks.delivery.retry import is_expired, pause_seconds

if TYPE_CHECKING:
    from dispatcher.config import DestinationSettings

# Characters of what a destination says of an event. The longest of ours are sentences of 500.
_MAX_ERROR: Final = 1_000


def settlements_of(
    claims: Sequence[Claim],
    outcomes: Sequence[Sequence[Outcome]],
    *,
    settings: DestinationSettings,
    now: float,
    is_foreign: bool = False,
) -> list[Settlement]:
    """The settlements of batches that were delivered together. Pure, but for the randomness of the pauses.

    The breaker is told once what all of them say of the destination: by the last one.

    Args:
        claims: The batches.
        outcomes: For each batch, one outcome for each of the claim's payloads, in their order.
        settings: The destination's table.
        now: Seconds since 1970, by the clock of the batch store.
        is_foreign: Whether the destination's code is not ours, so that its errors may quote events, as vendors do.
    """
    settlements: list[Settlement] = []
    retry_classes: set[BreakerResult] = set()
    asked_seconds = 0.0
    for claim, of_batch in zip(claims, outcomes, strict=True):
        sorter = _sort(claim, of_batch, settings=settings, now=now, is_foreign=is_foreign)
        retry_classes |= sorter.retry_classes
        asked_seconds = max(asked_seconds, sorter.asked_seconds)
        pause = pause_seconds(
            settings.retry,
            attempts=claim.attempts,
            asked_seconds=max(sorter.asked_seconds, sorter.permit_seconds),
        )
        settlements.append(
            Settlement(
                delivered=sorter.delivered,
                filtered=sorter.filtered,
                dead=sorter.dead,
                posted=sorter.posted,
                keep_seconds=settings.handover_hours * 3600,
                left=sorter.left,
                due_ms=int((now + pause) * 1000),
                burns_attempt="transient" in sorter.retry_classes,
                error=sorter.error,
                waits_for=sorter.waits_for,
            )
        )
    signal = BreakerSignal(
        result=_breaker_result(retry_classes, [outcome for of_batch in outcomes for outcome in of_batch]),
        failures=settings.breaker.failures,
        first_seconds=settings.breaker.first_seconds,
        max_seconds=settings.breaker.max_seconds,
        asked_seconds=asked_seconds,
    )
    # What opens the breaker has its error in it.
    error = settlements[-1].error or next((one.error for one in settlements if one.error), "")
    settlements[-1] = replace(settlements[-1], signal=signal, breaker_error=error)
    return settlements


def _sort(
    claim: Claim, outcomes: Sequence[Outcome], *, settings: DestinationSettings, now: float, is_foreign: bool
) -> _Sorter:
    age_seconds = now - claim.put_ms / 1000
    sorter = _Sorter(
        expired=is_expired(settings.retry, age_seconds=age_seconds),
        tries=f"tried {claim.attempts + 1} times in {age_seconds / 3600:,.1f} hours",
        is_foreign=is_foreign,
        payloads=claim.payloads,
    )
    for outcome, payload in zip(outcomes, claim.payloads, strict=True):
        sorter.add(outcome, payload)
    return sorter


@dataclass
class _Sorter:
    """The events of one batch, sorted by what becomes of them.

    Args:
        expired: Whether the batch is too old to be tried again.
        tries: How often and for how long it has been tried, for a person.
        is_foreign: Whether errors may quote events.
        payloads: The events.
    """

    expired: bool
    tries: str
    is_foreign: bool
    payloads: Sequence[bytes]
    delivered: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    dead: list[DeadEvent] = field(default_factory=list)
    posted: list[PostedEvent] = field(default_factory=list)
    left: list[bytes] = field(default_factory=list)
    retry_classes: set[BreakerResult] = field(default_factory=set)
    error: str = ""
    waits_for: str = ""
    asked_seconds: float = 0.0
    permit_seconds: float = 0.0
    shown: dict[str, str] = field(default_factory=dict)

    def show(self, text: str) -> str:
        """What a destination says, as Redis, logs, Flower and dead letters may have it: anybody may have written it."""
        if text not in self.shown:
            unquoted = mask_values(text, self._values) if text and self.is_foreign else text
            self.shown[text] = foreign_text(unquoted, _MAX_ERROR)
        return self.shown[text]

    def show_answer(self, text: str) -> str:
        """The same for a vendor's own words."""
        return self.show(mask_values(text, self._values) if text else "")

    @cached_property
    def _values(self) -> list[str]:
        """What the events of the batch say. Found once, and only where something went wrong."""
        objects: list[Any] = []
        for payload in self.payloads:
            with suppress(msgspec.DecodeError, RecursionError):  # other bytes than an event say nothing
                event = decode(payload)
                objects += [event.data, event.context]
        return values_of(objects)

    def add(self, outcome: Outcome, payload: bytes) -> None:
        match outcome:
            case Delivered():
                self.delivered += 1
            case Filtered():
                self.filtered[self.show(outcome.reason)] += 1
            case Posted():
                self.posted.append(PostedEvent(outcome.mailbox, outcome.id, outcome.calls, payload))
            case Dead():
                self._add_dead(outcome, payload)
            case RetryAfter() if outcome.retry_class == "rate_limited":
                # It was not sent: that is neither a failure, nor a try after which to give up.
                self.waits_for = self.show(outcome.error)
                self.permit_seconds = max(self.permit_seconds, outcome.seconds or 0.0)
                self.left.append(payload)
            case RetryAfter():
                self._add_failed(outcome, payload)

    def _add_dead(self, outcome: Dead, payload: bytes) -> None:
        if outcome.retry_class is not None and outcome.retry_class != "rate_limited":
            self.retry_classes.add(outcome.retry_class)
        self.dead.append(
            DeadEvent(self.show(outcome.reason), self.show(outcome.error), payload, self.show_answer(outcome.answer))
        )
        self.error = self.error or self.show(outcome.error)

    def _add_failed(self, outcome: RetryAfter, payload: bytes) -> None:
        assert outcome.retry_class != "rate_limited"
        self.retry_classes.add(outcome.retry_class)
        self.error = self.show(outcome.error)
        if self.expired:
            self.dead.append(
                DeadEvent(EXPIRED, f"{self.tries} and still: {self.error}", payload, self.show_answer(outcome.answer))
            )
            return
        self.left.append(payload)
        self.asked_seconds = max(self.asked_seconds, outcome.seconds or 0.0)


def _breaker_result(retry_classes: set[BreakerResult], outcomes: Sequence[Outcome]) -> BreakerResult:
    # A destination that asks to be left alone is left alone, whatever it took before.
    for retry_class in ("setup", "throttled"):
        if retry_class in retry_classes:
            return retry_class
    if any(isinstance(outcome, Delivered) for outcome in outcomes):
        return "ok"
    if retry_classes:
        return "transient"
    # A refusal is an answer. What was not sent says nothing about the destination.
    return "ok" if any(isinstance(outcome, Dead) and outcome.asked for outcome in outcomes) else ""
