"""The task of a destination: claim what waits, hand it to the destination, and record what became of each event."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from celery import Task
from celery.exceptions import Retry

from dispatcher.destinations.base import Batch, Destination
from dispatcher.errors import BatchDamagedError, StoreUnavailableError
from dispatcher.live.deliveries import Delivery as ShownDelivery
from dispatcher.live.deliveries import show_deliveries
from dispatcher.live.tap import Tap
from dispatcher.monitoring.sentry.errors import report_failed_delivery, report_lost_worker
from dispatcher.monitoring.traces import Untraced, remove_traces
from dispatcher.outcomes import WORKER_LOST, Dead, Outcome, RetryAfter
from dispatcher.secrecy.foreign_error import describe_error, describe_traceback
from dispatcher.secrecy.safe_text import foreign_text
from dispatcher.store import doorbell
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import BreakerOpen, Claim, Damaged, JoinLimits, Paused
from dispatcher.store.doorbell import Ring, task_name
from dispatcher.store.settlement import Settled, Settlement
from dispatcher.store.slots import split_slot
from dispatcher.tasks.delivery.forgotten import find_forgotten, leave_out, put_back
from dispatcher.tasks.delivery.receipts import receipts_of
from dispatcher.tasks.delivery.result import Result
from dispatcher.tasks.delivery.sentry_trace import send_traces
from dispatcher.tasks.delivery.settlement import settlements_of
from dispatcher.tasks.delivery.spans import DeliverySpans

if TYPE_CHECKING:
    from dispatcher.config import DestinationSettings
    from dispatcher.receipts.writer import ReceiptWriter
    from dispatcher.suppression.suppression_list import SuppressionList

logger = logging.getLogger(__name__)

# Part of a lease by which it is longer at random for a batch that may be what ends workers.
_SPREAD: Final = 0.5
# Seconds between tries to record an outcome while Redis is away.
_SETTLE_PAUSES: Final = (0.1, 0.2, 0.5, 1.0)


class Delivery(Task):
    """The task ``tasks.<destination>.deliver``. Its one argument names a batch: its slot of the destination has work.

    Nothing is lost when it fails or its worker dies: batches stay claimed until the lease runs out, and are rung for
    again.
    """

    Request = "dispatcher.tasks.delivery.request:DeliveryRequest"
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True

    def __init__(
        self,
        store: BatchStore,
        destination: str,
        settings: DestinationSettings,
        build: Callable[[], Destination[Any]],
        *,
        rings_here: bool = False,
        tap: Tap | None = None,
        receipts: ReceiptWriter | None = None,
        suppressed: SuppressionList | None = None,
    ) -> None:
        self.name = task_name(destination)
        self._store = store
        self._destination = destination
        self._settings = settings
        self._build = build
        # Whether the broker is the store's Redis, so that the store's scripts ring.
        self._rings_here = rings_here
        self._tap = tap
        self._receipts = receipts
        self._suppressed = suppressed
        self._built: tuple[int, Destination[Any]] | None = None
        self._building = threading.Lock()

    def run(self, word: str) -> str:
        """Deliver the batch of a doorbell, and others that wait together with it. Returns a line for the log.

        Raises:
            Retry: Some of it is parked, to be tried again.
            StoreUnavailableError: Redis does not answer; the batches stay where they are.
        """
        batch_id, slot = split_slot(word)
        # Before the claim, so that the lease ends here no later than in the store.
        began = time.monotonic()
        lease_until = began + self._settings.lease_seconds
        found = self._store.claim_all(
            self._destination,
            batch_id,
            token=uuid4().hex,
            lease_seconds=self._settings.lease_seconds,
            spread_seconds=random.uniform(0, _SPREAD * self._settings.lease_seconds),
            limits=self._limits,
            slot=slot,
            here=self._rings_here,
        )
        if isinstance(found, str):
            return f"nothing to do: the batch is {found}"
        if isinstance(found, Paused):
            why = f": {found.reason}" if found.reason else ""
            raise Retry(
                f"the destination is paused{why}", when=None if found.until_ms is None else _utc(found.until_ms)
            )
        if isinstance(found, BreakerOpen):
            raise Retry(f"the breaker is open: {found.error}", when=_utc(found.until_ms))
        self._ring(found.ring)
        damage = [self._report_damage(damaged) for damaged in found.damaged]
        if not found.claims:
            return "; ".join(damage)
        if any(claim.lost for claim in found.claims):
            report_lost_worker(self._destination)
        untraced = self._remove_traces(found.claims)
        spans = DeliverySpans(self._destination, found.claims, [one.parents for one in untraced])
        with spans.under_way():
            outcomes = self._deliver(found.claims, untraced, lease_until)
        # By the store's clock, which decides when a batch is due.
        now = found.claims[0].claimed_ms / 1000 + time.monotonic() - began
        settlements = settlements_of(
            found.claims, outcomes, settings=self._settings, now=now, is_foreign=self._is_foreign
        )
        # Before it is recorded, which may not succeed: it is done all the same, and may be done once more.
        if self._receipts is not None and self._receipts.is_on:
            self._receipts.write(receipts_of(found.claims, outcomes, settlements, now=now))
        settled = self._settle(list(zip(found.claims, settlements, strict=True)), lease_until)
        self._show(found.claims, outcomes, seconds=time.monotonic() - began)
        for settlement, one in zip(settlements, untraced, strict=True):
            send_traces(self._destination, one.traces, settlement, seconds=time.monotonic() - began)
        spans.finish(settlements)
        self._log_breaker(settled, settlements[-1])
        result = Result(found.claims, settlements)
        if result.left:
            raise Retry(result.retry_text, when=_utc(result.due_ms))
        return "; ".join([str(result), *damage])

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Drop the frames that a retry was raised in. Called by Celery.

        Celery's report of them takes 200 KB, is sent through a pool of processes, and stays in a reference cycle until
        Python collects those: a worker that only parks would grow by 70 MB.
        """
        getattr(einfo.exception, "exc", einfo.exception).__traceback__ = None
        einfo.tb = None

    @property
    def _limits(self) -> JoinLimits | None:
        """What batches may have together; None where the destination gains nothing by several at a time."""
        try:
            joins = self.destination.joins_batches
        except Exception:  # the delivery that follows tries again, and says what is wrong
            return None
        return JoinLimits(events=self._settings.batch_events, bytes=self._settings.batch_bytes) if joins else None

    def _remove_traces(self, claims: Sequence[Claim]) -> list[Untraced]:
        """The events of each batch as the destination gets them, and the sampled requests that they came from."""
        try:
            is_shown = self.destination.shows_traceparent
        except Exception:  # the delivery that follows tries again, and says what is wrong
            is_shown = False
        # What may have ended workers is not even looked into.
        return [
            Untraced(tuple(claim.payloads)) if claim.condemned else remove_traces(claim.payloads, is_shown=is_shown)
            for claim in claims
        ]

    def _deliver(
        self, claims: Sequence[Claim], untraced: Sequence[Untraced], lease_until: float
    ) -> Sequence[Sequence[Outcome]]:
        """What became of each batch's events."""
        if claims[0].condemned:  # it came alone
            return [[_dead_with_workers(claims[0])] * len(claims[0].payloads)]
        forgotten = [find_forgotten(one.payloads, self._suppressed) for one in untraced]
        batches = [
            Batch(
                destination=claim.destination,
                id=claim.batch_id,
                payloads=leave_out(one.payloads, places),
                attempt=claim.attempts,
                maybe_delivered=claim.maybe_delivered,
                lease_until=lease_until,
                first=claim.first,
                put_at=claim.put_ms / 1000,
                waited_seconds=(claim.claimed_ms - claim.put_ms) / 1000,
                forgotten=places,
            )
            for claim, one, places in zip(claims, untraced, forgotten, strict=True)
        ]
        found: Sequence[Sequence[Outcome] | Exception]
        try:
            found = self._hand_over([batch for batch in batches if batch.payloads])
        except Exception as error:
            found = [error] * len(batches)
        rest = iter(found)
        found = [put_back(next(rest) if batch.payloads else (), batch.forgotten) for batch in batches]
        reported: set[int] = set()
        outcomes: list[Sequence[Outcome]] = []
        for claim, one in zip(claims, found, strict=True):
            if isinstance(one, Exception):
                described = self._describe(one, report=id(one) not in reported)
                reported.add(id(one))
                outcomes.append([RetryAfter(described)] * len(claim.payloads))
            else:
                outcomes.append(one)
        return outcomes

    def _hand_over(self, batches: Sequence[Batch]) -> Sequence[Sequence[Outcome] | Exception]:
        if not batches:
            return ()
        # A batch alone goes the way that every destination has.
        return [self.destination.deliver(batches[0])] if len(batches) == 1 else self.destination.deliver_all(batches)

    def _show(self, claims: Sequence[Claim], outcomes: Sequence[Sequence[Outcome]], *, seconds: float) -> None:
        """Show who looks what became of the events. Costs nothing while nobody does."""
        if self._tap is None or not self._tap.leases():
            return
        shown = [
            ShownDelivery(
                destination=self._destination,
                batch=claim.batch_id,
                attempt=claim.attempts + 1,
                seconds=seconds,
                payloads=claim.payloads,
                outcomes=of_batch,
            )
            for claim, of_batch in zip(claims, outcomes, strict=True)
        ]
        together = sum(len(claim.payloads) for claim in claims)
        show_deliveries(self._tap, shown, self.destination.preview, together=together)

    def _describe(self, error: Exception, *, report: bool) -> str:
        """What a destination raised, in words that may be shown; reported and logged if it was not before."""
        # Its text may quote the event, or a URL with its key. So may those of requests, which are OSErrors. Only the
        # system's errors of our own destinations name a file, and what is wrong with it.
        is_ours = not self._is_foreign and isinstance(error, OSError)
        described = foreign_text(str(error)) if is_ours else describe_error(error)
        if report:
            report_failed_delivery(self._destination, error)
            logger.warning("delivery to %s failed: %s", self._destination, described)
            logger.debug("delivery to %s failed: %s", self._destination, describe_traceback(error))
        return described

    def _ring(self, ring: Ring | None) -> None:
        """Ring for what still waits, through a broker that is not the store's Redis."""
        if ring is None:
            return
        try:
            doorbell.send(self.app, [ring])
        except Exception as error:  # whatever the broker's client raises: the bell rings instead
            logger.warning("the broker did not take a doorbell; the bell will ring it: %s", error)

    @property
    def _is_foreign(self) -> bool:
        """Whether the destination's code is not ours, so that its errors may quote what it was given."""
        return self._built is None or not type(self._built[1]).__module__.startswith("dispatcher.")

    def _log_breaker(self, settled: Sequence[Settled | None], settlement: Settlement) -> None:
        name, signal = self._destination, settlement.signal
        change = next((one.breaker for one in settled if one is not None and one.breaker), "")
        if change == "opened":
            logger.warning("the breaker of %s is open (%s): %s", name, signal.result, settlement.breaker_error)
        elif change:
            logger.warning("the breaker of %s is closed again", name)

    def _report_damage(self, damaged: Damaged) -> str:
        report_failed_delivery(self._destination, BatchDamagedError(damaged.error))
        logger.error("%s dead letters of %s: %s", damaged.count, self._destination, damaged.error)
        return f"{damaged.count} dead: {damaged.error}"

    def _settle(self, settlements: Sequence[tuple[Claim, Settlement]], deadline: float) -> Sequence[Settled | None]:
        # Waiting for Redis is worth it: what is delivered and not recorded is delivered again.
        pauses = iter(_SETTLE_PAUSES)
        pause = next(pauses)
        while True:
            try:
                settled = self._store.settle_all(settlements, here=self._rings_here)
                break
            except StoreUnavailableError:
                if time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)
            pause = next(pauses, pause)
        lost = [claim for (claim, _), one in zip(settlements, settled, strict=True) if one is None]
        if lost:
            logger.warning(
                "the lease on batch %s of %r%s ran out and another worker has it now; "
                "raise destinations.%s.lease_seconds if deliveries take that long",
                lost[0].batch_id,
                self._destination,
                f" and {len(lost) - 1} more" if len(lost) > 1 else "",
                self._destination,
            )
        self._ring(next((one.ring for one in settled if one is not None and one.ring), None))
        return settled

    @property
    def destination(self) -> Destination[Any]:
        """The destination of this process, made at its first batch: what it opens must not cross a fork."""
        if self._built is None or self._built[0] != os.getpid():
            with self._building:
                if self._built is None or self._built[0] != os.getpid():
                    self._built = (os.getpid(), self._build())
        return self._built[1]


def _dead_with_workers(claim: Claim) -> Dead:
    # This says nothing about the destination, which was not asked this time.
    error = (
        f"workers were killed or hung while they delivered this event, {claim.lost} leases in a row and the last ones "
        "with it alone: see their logs and the kernel's for why, then have it replayed"
    )
    return Dead(WORKER_LOST, error, asked=False)


def _utc(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
