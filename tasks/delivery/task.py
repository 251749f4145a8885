"""The task of a destination: claim a batch, hand it to the destination, and record what became of each event."""

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
from dispatcher.monitoring.sentry.errors import report_failed_delivery, report_lost_worker
from dispatcher.monitoring.sentry.traces import Trace, remove_traces
from dispatcher.outcomes import WORKER_LOST, Dead, Outcome, RetryAfter
from dispatcher.secrecy.foreign_error import describe_error, describe_traceback
from dispatcher.secrecy.safe_text import foreign_text
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import BreakerOpen, Claim, Damaged, Paused
from dispatcher.store.doorbell import task_name
from dispatcher.store.settlement import Settled, Settlement
from dispatcher.tasks.delivery.sentry_trace import send_traces
from dispatcher.tasks.delivery.settlement import settlement_of

if TYPE_CHECKING:
    from dispatcher.config import DestinationSettings

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
        # Before the claim, so that the lease ends here no later than in the store.
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
        if isinstance(claim, Paused):
            why = f": {claim.reason}" if claim.reason else ""
            raise Retry(
                f"the destination is paused{why}", when=None if claim.until_ms is None else _utc(claim.until_ms)
            )
        if isinstance(claim, BreakerOpen):
            raise Retry(f"the breaker is open: {claim.error}", when=_utc(claim.until_ms))
        if isinstance(claim, Damaged):
            return self._report_damage(claim)
        if claim.lost:
            report_lost_worker(self._destination)
        outcomes, traces = self._deliver(claim, lease_until)
        # By the store's clock, which decides when a batch is due.
        now = claim.claimed_ms / 1000 + time.monotonic() - began
        settlement = settlement_of(claim, outcomes, settings=self._settings, now=now, is_foreign=self._is_foreign)
        settled = self._settle(claim, settlement, lease_until)
        send_traces(self._destination, traces, settlement, seconds=time.monotonic() - began)
        if settled is not None and settled.breaker:
            self._log_breaker(settled, settlement)
        if settlement.left:
            raise Retry(settlement.error or settlement.waits_for, when=_utc(settlement.due_ms))
        rest = f", {len(claim.rest)} of the batch come next" if claim.rest else ""
        return f"{settlement.delivered} delivered, {len(settlement.dead)} dead{rest}"

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Drop the frames that a retry was raised in. Called by Celery.

        Celery's report of them takes 200 KB, is sent through a pool of processes, and stays in a reference cycle until
        Python collects those: a worker that only parks would grow by 70 MB.
        """
        getattr(einfo.exception, "exc", einfo.exception).__traceback__ = None
        einfo.tb = None

    def _deliver(self, claim: Claim, lease_until: float) -> tuple[Sequence[Outcome], Sequence[Trace]]:
        """What became of each event, and the sampled requests that they came from."""
        if claim.condemned:
            return [_dead_with_workers(claim)] * len(claim.payloads), ()
        payloads, traces = remove_traces(claim.payloads)
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
            return self.destination.deliver(batch), traces
        except Exception as error:
            report_failed_delivery(self._destination, error)
            # Its text may quote the event, or a URL with its key. So may those of requests, which are OSErrors. Only
            # the system's errors of our own destinations name a file, and what is wrong with it.
            is_ours = not self._is_foreign and isinstance(error, OSError)
            described = foreign_text(str(error)) if is_ours else describe_error(error)
            logger.warning("delivery to %s failed: %s", self._destination, described)
            logger.debug("delivery to %s failed: %s", self._destination, describe_traceback(error))
            return [RetryAfter(described)] * len(claim.payloads), traces

    @property
    def _is_foreign(self) -> bool:
        """Whether the destination's code is not ours, so that its errors may quote what it was given."""
        return self._built is None or not type(self._built[1]).__module__.startswith("dispatcher.")

    def _log_breaker(self, settled: Settled, settlement: Settlement) -> None:
        name, signal = self._destination, settlement.signal
        if settled.breaker == "opened":
            logger.warning("the breaker of %s is open (%s): %s", name, signal.result, settlement.error)
        else:
            logger.warning("the breaker of %s is closed again", name)

    def _report_damage(self, damaged: Damaged) -> str:
        report_failed_delivery(self._destination, BatchDamagedError(damaged.error))
        logger.error("%s dead letters of %s: %s", damaged.count, self._destination, damaged.error)
        return f"{damaged.count} dead: {damaged.error}"

    def _settle(self, claim: Claim, settlement: Settlement, deadline: float) -> Settled | None:
        # Waiting for Redis is worth it: what is delivered and not recorded is delivered again.
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
