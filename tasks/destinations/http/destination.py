"""HttpDestination: the base of everything that takes events over HTTP. A vendor's module says only what is its own.

The way of a batch: each event goes through the operator's rules (consent, mapping, privacy) and becomes an item;
items become requests within the vendor's limits; requests are sent, some at a time, at the rate that all workers
share; and each answer becomes the outcome of its events.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from pydantic import Field

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import decode, encode
from dispatcher.monitoring.sentry.errors import report_failed_delivery
from dispatcher.outcomes import Dead, Filtered, Outcome, RetryAfter
from dispatcher.store.rate_limit import Turn
from dispatcher.tasks.destinations.http.bisection import send_bisected
from dispatcher.tasks.destinations.http.client import Answer, HttpClient, NoAnswer, Request
from dispatcher.tasks.destinations.http.masking import secrets_of, shown
from dispatcher.tasks.destinations.http.status import outcome_of_status

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

logger = logging.getLogger(__name__)

# Requests at a time, where the vendor takes one event in each.
_CONCURRENCY: Final = 8
# Kept open at least, for the threads of the worker.
_CONNECTIONS: Final = 10
# Requests in a row that an answer of the moment may meet before the rest of the batch waits.
_FAILURES: Final = 3
# Statuses of a request that was not carried out: RFC 9110 §15.5.9 and §15.6.4, RFC 8470 §5.2.
_NOT_DONE: Final = frozenset({408, 425, 503})
# Part of the lease that may go by with waiting for one's turn; the rest is for the requests themselves.
_WAITING_SHARE: Final = 0.5
# Seconds that one waits for a turn. When so many are first, this batch waits in the store, and its thread does others.
_PATIENCE_SECONDS: Final = 5.0
# Part of the lease at its end in which no request begins any more, at most.
_LAST_SHARE: Final = 0.25

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the vendor takes.

    Args:
        events: In one request.
        request_bytes: The body of one request.
        event_bytes: One item as JSON.
    """

    events: int = 1
    request_bytes: int | None = None
    event_bytes: int | None = None


class HttpOptions(Options):
    """The settings that every HTTP destination has."""

    timeout_seconds: float = Field(default=10, gt=0, description="How long an answer may be silent.")
    connect_timeout_seconds: float = Field(default=3, gt=0, description="How long connecting may take.")
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Requests at a time in one worker process; absent: 8 where the vendor takes one event a request.",
    )
    at_most_once: bool = Field(
        default=False,
        description="What may have been taken already is never sent again, but becomes a dead letter.",
    )


HttpOptionsT = TypeVar("HttpOptionsT", bound=HttpOptions)


class HttpDestination(Destination[HttpOptionsT], Generic[HttpOptionsT, ItemT]):
    """Base of HTTP destinations. A subclass has ``Options``, ``limits``, ``endpoint``, ``item`` and ``request``.

    ``item`` and ``request`` are pure: `dispatcher explain` calls them too. All methods may be called from several
    threads at a time.
    """

    #: What the vendor takes at most. Set before ``__init__`` of the base where the options have a say in it.
    limits: Limits = Limits()
    #: Requests a second that the vendor allows for one account; None where it names no limit. All workers together
    #: stay a little below; ``rate.per_second`` in the destination's table wins.
    requests_per_second: ClassVar[float | None] = None

    def __init__(
        self, name: str, options: HttpOptionsT, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        super().__init__(name, options, rules=rules, rate=rate)
        #: Requests at a time in this process.
        self.concurrency: Final = options.concurrency or (_CONCURRENCY if self.limits.events == 1 else 1)
        #: Names the destination in errors; holds neither path nor query.
        self.who: Final = f"{type(self).__name__} at {urlsplit(self.endpoint).netloc}"
        self._client = HttpClient(
            self.endpoint,
            who=self.who,
            connect_seconds=options.connect_timeout_seconds,
            answer_seconds=options.timeout_seconds,
            connections=max(self.concurrency, _CONNECTIONS),
        )
        self._pool: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()

    # ---- what a vendor's module says

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The URL that requests go to, without credentials."""

    @abstractmethod
    def item(self, event: Event) -> ItemT:
        """What an event becomes in a request. Pure: the event and its dicts stay as they are.

        Raises:
            UndeliverableError: The vendor cannot take it; say what to do about that, with no personal data.
            DropEvent: It is right to leave it out, for the reason given.
        """

    @abstractmethod
    def request(self, items: Sequence[ItemT]) -> Request:
        """The request for some items, of one group and within the limits. Pure."""

    def finished(self, request: Request) -> Request:
        """The request as it goes out now: for what depends on the moment, such as a signature over the time.

        Called once an attempt, right before it; by default the request stays as it is.
        """
        return request

    def group(self, item: ItemT) -> Hashable:
        """Items of different groups go in different requests; all may go together by default."""
        return None

    def item_bytes(self, item: ItemT) -> int:
        """How much of a request's body an item takes; as JSON by default."""
        return len(msgspec.json.encode(item))

    def body_bytes(self, items: Sequence[ItemT], items_bytes: int) -> int:
        """How large a request's body is, whose items take ``items_bytes`` together; it is made to see by default."""
        return len(self.request(items).body)

    def outcome(self, answer: Answer) -> Outcome:
        """What an answer means for every event of its request: by its status, unless the vendor has a way of its own.

        Dead makes a request with several events be sent again in halves, until the bad ones are found.
        """
        return outcome_of_status(answer.status, who=self.who, retry_after=answer.headers.get("Retry-After"))

    def missing(self) -> str | None:
        """What the settings lack for anything to be sent, for a person; None where nothing does."""
        return None

    @property
    def send_seconds(self) -> float:
        """How long ``send`` takes at most where the vendor is silent. For vendors of which it asks twice."""
        return self.options.connect_timeout_seconds + self.options.timeout_seconds

    def send(self, items: Sequence[ItemT], *, attempt: int) -> Answer | NoAnswer:
        """Send one request. For vendors whose own package does that."""
        return self._client.send(self.finished(self.request(items)))

    # ---- what is the same for all

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch in as many requests as the vendor's limits ask for, ``concurrency`` at a time.

        What is refused for its contents is bisected. Once the vendor asks to be left alone, gives no answer or fails
        three times in a row, the rest waits without being tried. Blocks up to the lease.
        """
        if (missing := self.missing()) is not None:
            return [RetryAfter(missing, None, "setup")] * len(batch.payloads)
        if self.options.at_most_once and batch.maybe_delivered:
            error = (
                f"a worker ended while it sent this, or Redis has lost what became of it, so {self.who} may have it; "
                "at_most_once is on: not sent again"
            )
            return [Dead("maybe_delivered", error, asked=False)] * len(batch.payloads)
        outcomes: dict[int, Outcome] = {}
        entries: list[_Entry[ItemT]] = []
        for position, payload in enumerate(batch.payloads):
            made = self._made(position, payload)
            if isinstance(made, _Entry):
                entries.append(made)
            else:
                outcomes[position] = made
        requests = self._packed(entries, outcomes)
        round_ = _Round(batch, len(requests), self.send_seconds)
        for request, found in zip(requests, self._sent(requests, round_), strict=True):
            outcomes |= {entry.position: one for entry, one in zip(request, found, strict=True)}
        return [outcomes[position] for position in range(len(batch.payloads))]

    def preview(self, event: Event) -> dict[str, Any]:
        """What would be sent for an event, credentials masked; or why nothing would. Sends nothing."""
        made = self._made(0, encode(event))
        outcomes: dict[int, Outcome] = {}
        requests = self._packed([made], outcomes) if isinstance(made, _Entry) else []
        # What fits in no request is dead as well.
        outcome = outcomes.get(0, made)
        if isinstance(outcome, Dead):
            return {"outcome": "dead", "reason": outcome.reason, "error": outcome.error}
        if isinstance(outcome, Filtered):
            return {"outcome": "filtered", "reason": outcome.reason}
        request = self.finished(self.request([entry.item for entry in requests[0]]))
        shown_request: dict[str, Any] = {"request": shown(request, secrets_of(self.options))}
        missing = self.missing()
        return shown_request if missing is None else shown_request | {"missing": missing}

    def close(self) -> None:
        """Close connections and threads. May be called twice."""
        with self._starting:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        self._client.close()

    def _made(self, position: int, payload: bytes) -> _Entry[ItemT] | Dead | Filtered:
        try:
            event = decode(payload)
        except (ValueError, OverflowError, RecursionError) as error:
            said = f"a payload of {len(payload)} bytes is not an event: {type(error).__name__}"
            return Dead("undecodable", said, asked=False)
        try:
            item = self.item(event if self.rules is None else self.rules.apply(event))
            entry = _Entry(position, event.id, item, self.item_bytes(item))
        except UndeliverableError as error:
            return Dead(error.reason, str(error), asked=False)
        except DropEvent as drop:
            return Filtered(str(drop.reason))
        except Exception as error:  # else one event that a vendor's module trips over would hold up its whole batch
            self._report(error)
            return Dead("transform", f"event {event.id}: {self._fault(error)}", asked=False)
        limit = self.limits.event_bytes
        return entry if limit is None or entry.size <= limit else self._oversized(entry, entry.size, limit)

    def _oversized(self, entry: _Entry[ItemT], size: int, limit: int) -> Dead:
        error = f"event {entry.id} makes {size} bytes and {self.who} takes {limit}: put less into its data"
        return Dead("oversized", error, asked=False)

    def _packed(self, entries: Sequence[_Entry[ItemT]], outcomes: dict[int, Outcome]) -> list[list[_Entry[ItemT]]]:
        """Entries in requests within the limits, in order within each group. What fits in none gets its outcome."""
        open_: dict[Hashable, list[_Entry[ItemT]]] = {}
        size: dict[Hashable, int] = {}
        full: list[list[_Entry[ItemT]]] = []
        most = self.limits.request_bytes
        for entry in entries:
            group = self.group(entry.item)
            request = open_.setdefault(group, [])
            grown = size.get(group, 0) + entry.size + 1
            if request and (len(request) >= self.limits.events or (most is not None and grown > most)):
                full.append(request)
                request, grown = [], entry.size + 1
                open_[group] = request
            request.append(entry)
            size[group] = grown
        requests: list[list[_Entry[ItemT]]] = []
        for request in [*full, *open_.values()]:
            requests += self._fitted(request, outcomes)
        return sorted(requests, key=lambda request: request[0].position)

    def _fitted(self, request: list[_Entry[ItemT]], outcomes: dict[int, Outcome]) -> list[list[_Entry[ItemT]]]:
        # What is around the items counts as well, so the body itself is looked at.
        most = self.limits.request_bytes
        if most is None:
            return [request]
        size = self.body_bytes([entry.item for entry in request], sum(entry.size for entry in request))
        if size <= most:
            return [request]
        if len(request) == 1:
            outcomes[request[0].position] = self._oversized(request[0], size, most)
            return []
        half = len(request) // 2
        return self._fitted(request[:half], outcomes) + self._fitted(request[half:], outcomes)

    def _sent(self, requests: Sequence[list[_Entry[ItemT]]], round_: _Round) -> list[list[Outcome]]:
        """What became of each request. Some are sent at a time, as many as ``concurrency`` in the whole process."""
        # What is set holds for all batches together; else one request needs no other thread than its batch's own.
        if self.options.concurrency is None and (len(requests) < 2 or self.concurrency == 1):
            return [self._delivered(request, round_) for request in requests]
        threads = self._threads()
        futures: list[Future[list[Outcome]]] = []
        under_way: set[Future[list[Outcome]]] = set()
        for request in requests:
            # Were all handed over at once, a batch that comes later would wait for the whole of this one.
            if len(under_way) >= self.concurrency:
                under_way = wait(under_way, return_when=FIRST_COMPLETED).not_done
            future = threads.submit(self._delivered, request, round_)
            futures.append(future)
            under_way.add(future)
        return [future.result() for future in futures]

    def _delivered(self, request: list[_Entry[ItemT]], round_: _Round) -> list[Outcome]:
        return send_bisected([entry.item for entry in request], lambda items: self._send(items, round_))

    def _threads(self) -> ThreadPoolExecutor:
        with self._starting:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix=f"{self.name}-")
            return self._pool

    def _send(self, items: Sequence[ItemT], round_: _Round) -> Outcome:
        turn = self._turn(round_)
        if isinstance(turn, RetryAfter):
            return turn
        answer, outcome = self._answered(items, round_.batch.attempt)
        if self.rate is not None:
            outcome = self.rate.heed(turn, outcome)
        round_.heed(outcome, silent=isinstance(answer, NoAnswer))
        if self.options.at_most_once and isinstance(outcome, RetryAfter) and _may_be_done(answer, outcome):
            error = f"{outcome.error}; it may have it, and at_most_once is on: not sent again"
            return Dead("unanswered", error, whole=True, retry_class=outcome.retry_class)
        return outcome

    def _turn(self, round_: _Round) -> Turn | RetryAfter:
        """Wait until one more request may go, at the rate of all workers; or why it may not."""
        # One of a batch's threads waits at a time, so that batches take turns, however many threads they have.
        with round_.turns:
            while (stopped := round_.stopped()) is None:
                turn = Turn() if self.rate is None else self.rate.take(round_.patience())
                if not turn.taken:
                    round_.stop(self._next_time(turn, round_))
                elif turn.seconds <= 0 or self.rate is None:
                    return turn
                elif not round_.stops_within(turn.seconds) and self.rate.stands(turn):
                    return round_.stopped() or turn
            return stopped

    def _next_time(self, turn: Turn, round_: _Round) -> RetryAfter:
        error = turn.error or f"{self.who} is sent to as fast as its rate allows, and others are first"
        # Where several batches are first, each has more to send than this turn. Did all that wait come back for the
        # next one, workers would do little else than park them again.
        several = turn.seconds > _PATIENCE_SECONDS + turn.spacing
        return RetryAfter(error, turn.seconds + (round_.requests * turn.spacing if several else 0), "rate_limited")

    def _answered(self, items: Sequence[ItemT], attempt: int) -> tuple[Answer | NoAnswer, Outcome]:
        try:
            answer = self.send(items, attempt=attempt)
            return answer, answer.outcome if isinstance(answer, NoAnswer) else self.outcome(answer)
        except Exception as error:  # else it would undo what became of the other requests
            self._report(error)
            failed = RetryAfter(self._fault(error))
            return NoAnswer(failed, maybe_taken=True), failed

    def _report(self, error: Exception) -> None:
        report_failed_delivery(self.name, error)
        logger.warning("delivery to %s failed: %s", self.name, self._fault(error), exc_info=logger.isEnabledFor(10))

    def _fault(self, error: Exception) -> str:
        # Its own text may hold some of the event.
        return f"{type(error).__name__} in {type(self).__name__}, a mistake of the destination's"


@dataclass(frozen=True, slots=True)
class _Entry(Generic[ItemT]):
    position: int
    id: str
    item: ItemT
    size: int


class _Round:
    """What the requests of one batch tell each other: whether to go on. Safe in threads."""

    def __init__(self, batch: Batch, requests: int, request_seconds: float) -> None:
        self.batch = batch
        self.requests: Final = requests
        now = time.monotonic()
        # A request that began later could end after the lease, when another worker has the batch. A lease shorter
        # than what a silent vendor may take is used for the most part all the same.
        self._last_start = batch.lease_until - min(request_seconds, (batch.lease_until - now) * _LAST_SHARE)
        self._turn_until = now + (batch.lease_until - now) * _WAITING_SHARE
        self._failure: RetryAfter | None = None
        self._ended = threading.Event()
        self._in_a_row = 0
        self._lock = threading.Lock()
        #: Held while one waits for a turn.
        self.turns: Final = threading.Lock()

    def stopped(self) -> RetryAfter | None:
        """Why nothing more is to be sent, if so."""
        if self._failure is None and time.monotonic() > self._last_start:
            return RetryAfter("the lease leaves no time for another request", 0.0, "rate_limited")
        return self._failure

    def patience(self) -> float:
        """Seconds that one may wait for one's turn."""
        return max(
            0.0, min(self._turn_until, self._last_start, time.monotonic() + _PATIENCE_SECONDS) - time.monotonic()
        )

    def heed(self, outcome: Outcome, *, silent: bool) -> None:
        """Learn from what became of a request whether to go on with the others."""
        with self._lock:
            if not isinstance(outcome, RetryAfter):
                self._in_a_row = 0
                return
            if outcome.retry_class == "rate_limited":
                return  # a slower rate is enough
            self._in_a_row += 1
            in_a_row = self._in_a_row
        if silent or outcome.retry_class != "transient" or in_a_row >= _FAILURES:
            self.stop(outcome)

    def stop(self, failure: RetryAfter) -> None:
        """Nothing more is sent; the first one to say so says why."""
        with self._lock:
            self._failure = self._failure or failure
        self._ended.set()

    def stops_within(self, seconds: float) -> bool:
        """Wait for so long, or until it is stopped: then True."""
        return self._ended.wait(seconds)


def _may_be_done(answer: Answer | NoAnswer, outcome: RetryAfter) -> bool:
    if isinstance(answer, NoAnswer):
        return answer.maybe_taken
    # These say that it was not; a gateway's 502 and 504, and a 500, say nothing of it.
    return outcome.retry_class == "transient" and answer.status not in _NOT_DONE
