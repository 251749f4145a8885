"""The base task: claim a batch, hand it to its destination, and record what became of each event."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from celery import Task
from celery.exceptions import Retry

from dispatcher.destinations.base import Batch, Destination
from dispatcher.errors import BatchDamagedError, StoreUnavailableError
from dispatcher.monitoring.sentry.errors import report_failed_delivery, report_lost_worker
from dispatcher.monitoring.sentry.traces import Trace, remove_traces
from dispatcher.outcomes import Dead, Delivered, Filtered, Outcome, RetryAfter
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import BreakerOpen, Claim, Damaged
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.doorbell import task_name
from dispatcher.store.settlement import BreakerResult, BreakerSignal, Settled, Settlement
from dispatcher.tasks.delivery.sentry_trace import record

if TYPE_CHECKING:
    from dispatcher.config import DestinationSettings, RetrySettings

logger = logging.getLogger(__name__)

# Part of a lease by which it is longer at random for a batch that may be what ends workers.
_SPREAD: Final = 0.5
# Seconds between tries to record an outcome while Redis is away.
_SETTLE_PAUSES: Final = (0.1, 0.2, 0.5, 1.0)


class Delivery(Task):
    """The task ``tasks.<destination>.deliver``. Its one argument is a batch's id.

    Nothing is lost when it fails or its worker dies: the batch stays claimed until the lease runs out, and is rung
    for again.
    """

    Request = "dispatcher.tasks.delivery.request:AnnouncedRequest"
    acks_late = True
    reject_on_worker_lost = True
    ignore_result = True

    def __init__(
        self,
        store: BatchStore,
        destination: str,
        settings: DestinationSettings,
        build: Callable[[], Destination[Any]],
    ) -> None:
        self.name = task_name(destination)
        self._store = store
        self._destination = destination
        self._settings = settings
        self._build = build
        self._built: tuple[int, Destination[Any]] | None = None
        self._building = threading.Lock()

    def run(self, batch_id: str) -> str:
        """Deliver one batch. Returns a line for the log.

        Raises:
            Retry: Some of it is parked, to be tried again.
            StoreUnavailableError: Redis does not answer; the batch stays where it is.
        """
        # Before the claim, so that it is never later than the store's.
        began = time.monotonic()
        lease_until = began + self._settings.lease_seconds
        claim = self._store.claim(
            self._destination,
            batch_id,
            token=uuid4().hex,
            lease_seconds=self._settings.lease_seconds,
            spread_seconds=random.uniform(0, _SPREAD * self._settings.lease_seconds),
        )
        if isinstance(claim, str):
            return f"nothing to do: the batch is {claim}"
        if isinstance(claim, BreakerOpen):
            raise Retry(f"the breaker is open: {claim.error}", when=_moment(claim.until_ms))
        if isinstance(claim, Damaged):
            return self._tell_of_damage(claim)
        if claim.lost:
            report_lost_worker(self._destination)
        traces: tuple[Trace, ...] = ()
        if claim.condemned:
            outcomes: Sequence[Outcome] = [_lost_over(claim)] * len(claim.payloads)
        else:
            payloads, traces = remove_traces(claim.payloads)
            outcomes = self._deliver(claim, payloads, lease_until)
        # By the store's clock, which is the one that the due times are told by.
        now = claim.claimed_ms / 1000 + time.monotonic() - began
        settlement = tally(claim, outcomes, settings=self._settings, now=now)
        settled = self._settle(claim, settlement, lease_until)
        record(self._destination, traces, settlement, seconds=time.monotonic() - began)
        if settled is not None and settled.breaker:
            self._tell_of_breaker(settled, settlement)
        if settlement.left:
            raise Retry(settlement.error or settlement.waits_for, when=_moment(settlement.due_ms))
        rest = f", {len(claim.rest)} of the batch come next" if claim.rest else ""
        return f"{settlement.delivered} delivered, {len(settlement.dead)} dead{rest}"

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Let go of the frames that a retry was raised in. Called by Celery.

        Its report of them takes 200 KB, is sent through a pool of processes, and lives on in a cycle until Python looks
        for these: a worker that only parks would grow by 70 MB.
        """
        getattr(einfo.exception, "exc", einfo.exception).__traceback__ = None
        einfo.tb = None

    def _deliver(self, claim: Claim, payloads: tuple[bytes, ...], lease_until: float) -> Sequence[Outcome]:
        batch = Batch(
            destination=claim.destination,
            id=claim.batch_id,
            payloads=payloads,
            attempt=claim.attempts,
            maybe_delivered=claim.maybe_delivered,
            lease_until=lease_until,
            first=claim.first,
        )
        try:
            return self.destination.deliver(batch)
        except Exception as error:
            report_failed_delivery(self._destination, error)
            logger.warning("delivery to %s failed: %s", self._destination, error, exc_info=logger.isEnabledFor(10))
            return [RetryAfter(_explain(error))] * len(claim.payloads)

    def _tell_of_breaker(self, settled: Settled, settlement: Settlement) -> None:
        name, signal = self._destination, settlement.signal
        if settled.breaker == "opened":
            logger.warning("the breaker of %s is open (%s): %s", name, signal.result, settlement.error)
        else:
            logger.warning("the breaker of %s is closed again", name)

    def _tell_of_damage(self, damaged: Damaged) -> str:
        report_failed_delivery(self._destination, BatchDamagedError(damaged.error))
        logger.error("%s dead letters of %s: %s", damaged.count, self._destination, damaged.error)
        return f"{damaged.count} dead: {damaged.error}"

    def _settle(self, claim: Claim, settlement: Settlement, deadline: float) -> Settled | None:
        # Once delivered, it is worth some patience to record it: else it may be delivered again.
        pauses = iter(_SETTLE_PAUSES)
        pause = next(pauses)
        while True:
            try:
                settled = self._store.settle(claim, settlement)
            except StoreUnavailableError:
                if time.monotonic() + pause >= deadline:
                    raise
            else:
                if settled is None:
                    logger.warning(
                        "the lease on batch %s of %r ran out and another worker has it now; "
                        "raise destinations.%s.lease_seconds if deliveries take that long",
                        claim.batch_id,
                        claim.destination,
                        claim.destination,
                    )
                return settled
            time.sleep(pause)
            pause = next(pauses, pause)

    @property
    def destination(self) -> Destination[Any]:
        """The destination of this process, made at its first batch: what it holds open must not cross a fork."""
        if self._built is None or self._built[0] != os.getpid():
            with self._building:
                if self._built is None or self._built[0] != os.getpid():
                    self._built = (os.getpid(), self._build())
        return self._built[1]


def tally(claim: Claim, outcomes: Sequence[Outcome], *, settings: DestinationSettings, now: float) -> Settlement:
    """What to record of a batch, from the outcome of each event. ``now`` is in seconds since 1970."""
    expired = _is_expired(claim, settings.retry, now)
    delivered = 0
    filtered: Counter[str] = Counter()
    dead: list[DeadEvent] = []
    left: list[bytes] = []
    retry_classes: set[BreakerResult] = set()
    error = waits_for = ""
    asked = turn = 0.0
    for outcome, payload in zip(outcomes, claim.payloads, strict=True):
        match outcome:
            case Delivered():
                delivered += 1
            case RetryAfter():
                if outcome.retry_class == "rate_limited":
                    # It was not tried, so that it is no failure, and nothing to give up for.
                    waits_for = outcome.error
                    left.append(payload)
                    turn = max(turn, outcome.seconds or 0.0)
                    continue
                retry_classes.add(outcome.retry_class)
                error = outcome.error
                if expired:
                    dead.append(DeadEvent("expired", f"{_age(claim, now)} and still: {outcome.error}", payload))
                    continue
                left.append(payload)
                asked = max(asked, outcome.seconds or 0.0)
            case Dead():
                if outcome.retry_class is not None and outcome.retry_class != "rate_limited":
                    retry_classes.add(outcome.retry_class)
                dead.append(DeadEvent(outcome.reason, outcome.error, payload))
                error = error or outcome.error
            case Filtered():
                filtered[outcome.reason] += 1
    pause = random.uniform(0, backoff_seconds(settings.retry, claim.attempts))
    return Settlement(
        delivered=delivered,
        filtered=filtered,
        dead=dead,
        left=left,
        due_ms=int((now + max(asked, turn, pause)) * 1000),
        burns_attempt="transient" in retry_classes,
        error=error,
        waits_for=waits_for,
        signal=BreakerSignal(
            result=_breaker_result(retry_classes, outcomes),
            failures=settings.breaker.failures,
            first_seconds=settings.breaker.first_seconds,
            max_seconds=settings.breaker.max_seconds,
            asked_seconds=asked,
        ),
    )


def backoff_seconds(retry: RetrySettings, attempts: int) -> float:
    """The longest wait after ``attempts`` earlier failures: exponential, capped. The wait is a random part of it.

    Full jitter spreads what failed together, as in
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """
    # The exponent is bounded, since a factor to the power of a month's attempts would overflow.
    return min(retry.max_seconds, retry.first_seconds * retry.factor ** min(attempts, 64))


def _lost_over(claim: Claim) -> Dead:
    # It says nothing of the destination, which has not been asked this time.
    error = (
        f"workers were killed or hung while they delivered this event, {claim.lost} leases in a row and the last ones "
        "with it alone: see their logs and the kernel's for why, then have it replayed"
    )
    return Dead("worker_lost", error, asked=False)


def _explain(error: Exception) -> str:
    # It is shown in Flower and kept in the ledger. What the operating system says holds no event; others' texts may.
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    return f"{type(error).__name__}, which the worker's log has in full"


def _breaker_result(retry_classes: set[BreakerResult], outcomes: Sequence[Outcome]) -> BreakerResult:
    # What asks to be left alone weighs more than what it took before.
    for retry_class in ("setup", "throttled"):
        if retry_class in retry_classes:
            return retry_class
    if any(isinstance(one, Delivered) for one in outcomes):
        return "ok"
    if retry_classes:
        return "transient"
    # A refusal is an answer. What was not sent says nothing about the destination.
    return "ok" if any(isinstance(one, Dead) and one.asked for one in outcomes) else ""


def _is_expired(claim: Claim, retry: RetrySettings, now: float) -> bool:
    return retry.max_age_seconds != "never" and now - claim.put_ms / 1000 >= retry.max_age_seconds


def _age(claim: Claim, now: float) -> str:
    return f"tried {claim.attempts + 1} times in {(now - claim.put_ms / 1000) / 3600:,.1f} hours"


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
