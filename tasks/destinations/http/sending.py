"""Sending: requests go out, several at a time and at the rate of all workers, and each becomes its events' outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from dispatcher.outcomes import UNANSWERED, Dead, Outcome, RetryAfter
from dispatcher.store.rate_limit import Permit
from dispatcher.tasks.destinations.http.answer import Answer, own_words
from dispatcher.tasks.destinations.http.bisection import send_bisected
from dispatcher.tasks.destinations.http.client import NoAnswer
from dispatcher.tasks.destinations.http.mistakes import report_mistake
from dispatcher.tasks.destinations.http.packing import too_deep

if TYPE_CHECKING:
    from dispatcher.destinations.base import Batch
    from dispatcher.tasks.destinations.http.base import HttpDestination

# Transient failures in a row after which the rest of the batch waits.
_FAILURES: Final = 3
# Status of a request that was not carried out (RFC 9110 §15.6.4).
_UNAVAILABLE: Final = 503
# Fraction of the lease in which requests may wait for a permit; the rest is for the requests themselves.
_WAITING_FRACTION: Final = 0.5
# Seconds that a request waits for a permit. Beyond that the batch waits in the store, and its thread serves others.
_MAX_WAIT_SECONDS: Final = 5.0
# Fraction of a lease too short for a request, at its end, in which no request begins any more.
_LAST_FRACTION: Final = 0.25

ItemT = TypeVar("ItemT")


class Sender(Generic[ItemT]):
    """Sends the requests of one destination's batches. Safe in threads; made in the process that uses it.

    Args:
        destination: Whose requests it sends; its ``send`` and ``outcome`` are called from several threads at a time.
    """

    def __init__(self, destination: HttpDestination[Any, ItemT]) -> None:
        self._destination = destination
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()

    def send_all(self, requests: Sequence[Sequence[ItemT]], batch: Batch) -> list[list[Outcome]]:
        """Send the requests of a batch, ``concurrency`` at a time in the whole process. Blocks up to the lease.

        Args:
            requests: The items of each request.
            batch: The batch that they belong to.

        Returns:
            For each request, the outcome of each item.
        """
        round_ = Round(batch, len(requests), self._destination.send_seconds)
        # A concurrency that is set holds for all batches together. Else the only request of a batch needs no other
        # thread than the batch's own.
        is_set = self._destination.options.concurrency is not None
        if not is_set and (len(requests) < 2 or self._destination.concurrency == 1):
            return [self._send_bisected(request, round_) for request in requests]
        pool = self._threads()
        futures: list[Future[list[Outcome]]] = []
        under_way: set[Future[list[Outcome]]] = set()
        for request in requests:
            # If all were handed over at once, a batch that comes later would wait for the whole of this one.
            if len(under_way) >= self._destination.concurrency:
                under_way = wait(under_way, return_when=FIRST_COMPLETED).not_done
            # In a copy of the context, which has the delivery's span for OpenTelemetry.
            future = pool.submit(copy_context().run, self._send_bisected, request, round_)
            futures.append(future)
            under_way.add(future)
        return [future.result() for future in futures]

    def close(self) -> None:
        """End the threads, after what they are sending. May be called twice; a later batch starts new ones."""
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()

    def _threads(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                name = f"{self._destination.name}-"
                self._pool = ThreadPoolExecutor(self._destination.concurrency, thread_name_prefix=name)
            return self._pool

    def _send_bisected(self, items: Sequence[ItemT], round_: Round) -> list[Outcome]:
        return send_bisected(items, lambda part: self._send(part, round_))

    def _send(self, items: Sequence[ItemT], round_: Round) -> Outcome:
        """Send one request when it has a permit. Returns the outcome of all its items."""
        rate = self._destination.rate
        permit = self._take_permit(round_)
        if isinstance(permit, RetryAfter):
            return permit
        answer, outcome = self._ask(items, round_.batch.attempt)
        if rate is not None:
            outcome = rate.record(permit, outcome)
        round_.record(outcome, is_silent=isinstance(answer, NoAnswer))
        at_most_once = self._destination.options.at_most_once
        if at_most_once and isinstance(outcome, RetryAfter) and _may_be_done(answer, outcome):
            error = f"{outcome.error}; it may have it, and at_most_once is on: not sent again"
            return Dead(UNANSWERED, error, whole=True, retry_class=outcome.retry_class, answer=outcome.answer)
        return outcome

    def _ask(self, items: Sequence[ItemT], attempt: int) -> tuple[Answer | NoAnswer | None, Outcome]:
        """Send some items, and what the answer means for them; None in place of an answer if nothing was sent."""
        destination = self._destination
        try:
            answer = destination.send(items, attempt=attempt)
            if isinstance(answer, NoAnswer):
                return answer, answer.outcome
            outcome = destination.outcome(answer, items)
            if isinstance(outcome, Dead | RetryAfter):
                outcome = replace(outcome, answer=own_words(answer))
        except RecursionError:
            # Sent again in halves, of which only the one with the event that nests too deeply fails again.
            return None, too_deep("an event")
        except Exception as error:  # else it would undo what became of the other requests
            failed = RetryAfter(report_mistake(destination, error))
            return NoAnswer(failed, maybe_taken=True), failed
        if destination.body_matters and answer.fault is not None:
            # It cannot be known what the rest would have said. A status of another kind stands for itself.
            error_text = f"{destination.label} answered {answer.status} and {answer.fault}"
            if 200 <= answer.status < 300:
                lost = RetryAfter(f"{error_text}: it may have taken the events")
                return NoAnswer(lost, maybe_taken=True), lost
            if isinstance(outcome, Dead):
                return answer, RetryAfter(error_text)
        return answer, outcome

    def _take_permit(self, round_: Round) -> Permit | RetryAfter:
        """Wait until one more request may go, at the rate of all workers; or say why it may not."""
        rate = self._destination.rate
        # One of a batch's threads waits at a time, so that batches take turns, however many threads they have.
        with round_.waiting:
            while (stopped := round_.stopped()) is None:
                permit = Permit() if rate is None else rate.take(round_.max_wait_seconds())
                if not permit.is_granted:
                    round_.stop(self._park(permit, round_))
                elif permit.wait_seconds <= 0 or rate is None:
                    return permit
                elif not round_.stops_within(permit.wait_seconds) and rate.is_valid(permit):
                    return round_.stopped() or permit
            return stopped

    def _park(self, permit: Permit, round_: Round) -> RetryAfter:
        error = permit.error or f"{self._destination.label} is sent to as fast as its rate allows, and others are first"
        # Where several batches are first, each has more to send than one request. If all that wait came back for the
        # next one, workers would do little else than park them again.
        several = permit.wait_seconds > _MAX_WAIT_SECONDS + permit.spacing_seconds
        seconds = permit.wait_seconds + (round_.requests * permit.spacing_seconds if several else 0)
        return RetryAfter(error, seconds, "rate_limited")


class Round:
    """What the requests of one batch tell each other: whether to go on. Safe in threads.

    Args:
        batch: The batch that is being sent.
        requests: How many requests it has.
        request_seconds: How long a request may take.
    """

    def __init__(self, batch: Batch, requests: int, request_seconds: float) -> None:
        self.batch: Final = batch
        self.requests: Final = requests
        #: Held by the thread that waits for a permit.
        self.waiting: Final = threading.Lock()
        now = time.monotonic()
        # A request that began later could end after the lease, when another worker has the batch. The settings are
        # refused where a lease is not longer than a request; should it be so nevertheless, most of it is used.
        left = batch.lease_until - now
        self._last_start = batch.lease_until - (request_seconds if left > request_seconds else left * _LAST_FRACTION)
        self._last_wait = now + (batch.lease_until - now) * _WAITING_FRACTION
        self._failure: RetryAfter | None = None
        self._ended = threading.Event()
        self._failures_in_a_row = 0
        self._lock = threading.Lock()

    def stopped(self) -> RetryAfter | None:
        """Why nothing more is to be sent; None where sending goes on."""
        if self._failure is None and time.monotonic() > self._last_start:
            return RetryAfter("the lease leaves no time for another request", 0.0, "rate_limited")
        return self._failure

    def max_wait_seconds(self) -> float:
        """How long a request may wait for a permit."""
        now = time.monotonic()
        return max(0.0, min(self._last_wait, self._last_start, now + _MAX_WAIT_SECONDS) - now)

    def record(self, outcome: Outcome, *, is_silent: bool) -> None:
        """Learn from what became of a request whether the others should be sent."""
        with self._lock:
            if not isinstance(outcome, RetryAfter):
                self._failures_in_a_row = 0
                return
            if outcome.retry_class == "rate_limited":
                return  # a slower rate is enough
            self._failures_in_a_row += 1
            failures = self._failures_in_a_row
        if is_silent or outcome.retry_class != "transient" or failures >= _FAILURES:
            self.stop(outcome)

    def stop(self, failure: RetryAfter) -> None:
        """Send nothing more. The first failure given is the one that counts."""
        with self._lock:
            self._failure = self._failure or failure
        self._ended.set()

    def stops_within(self, seconds: float) -> bool:
        """Wait for so long, or until sending stops. Returns whether it stopped."""
        return self._ended.wait(seconds)


def _may_be_done(answer: Answer | NoAnswer | None, outcome: RetryAfter) -> bool:
    if answer is None or isinstance(answer, NoAnswer):
        return answer is not None and answer.maybe_taken
    # A status of 4xx, and 503, says that it was not done. A gateway's 502 and 504, and a 500, leave that open.
    return outcome.retry_class == "transient" and answer.status != _UNAVAILABLE and not 400 <= answer.status < 500
