"""HttpDestination: the base of everything that takes events over HTTP. A vendor's module says only what is its own.

The way of a batch: each event goes through the operator's rules (consent, mapping, privacy) and becomes an item;
items become requests within the vendor's limits; requests are sent, some at a time, at the rate that all workers
share; and each answer becomes the outcome of its events.
"""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from pydantic import Field

from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import decode
from tasks.destination import Batch, Destination, Options
from tasks.http.answer import outcome_of_status
from tasks.http.bisection import send_bisected
from tasks.http.client import Answer, HttpClient, NoAnswer, Request
from tasks.http.masking import secrets_of, shown
from tasks.outcomes import Dead, Filtered, Outcome, RetryAfter

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.rules import Rules
    from tasks.rate import Rate

# Requests at a time, where the vendor takes one event in each.
_CONCURRENCY: Final = 8
# Kept open at least, for the threads of the worker.
_CONNECTIONS: Final = 10
# Requests in a row that an answer of the moment may meet before the rest of the batch waits.
_FAILURES: Final = 3
# Part of the lease that may go by with waiting for one's turn; the rest is for the requests themselves.
_WAITING_SHARE: Final = 0.5
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

    #: What the vendor takes at most.
    limits: ClassVar[Limits] = Limits()
    #: Requests a second that the vendor allows for one account; None where it names no limit. ``rate.per_second`` in
    #: the destination's table wins.
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

    def group(self, item: ItemT) -> Hashable:
        """Items of different groups go in different requests; all may go together by default."""
        return None

    def item_bytes(self, item: ItemT) -> int:
        """How much of a request's body an item takes; as JSON by default."""
        return len(msgspec.json.encode(item))

    def outcome(self, answer: Answer) -> Outcome:
        """What an answer means for every event of its request: by its status, unless the vendor has a way of its own.

        Dead makes a request with several events be sent again in halves, until the bad ones are found.
        """
        return outcome_of_status(answer.status, who=self.who, retry_after=answer.headers.get("Retry-After"))

    def missing(self) -> str | None:
        """What the settings lack for anything to be sent, for a person; None where nothing does."""
        return None

    def send(self, items: Sequence[ItemT], *, attempt: int) -> Answer | NoAnswer:
        """Send one request. For vendors whose own package does that."""
        return self._client.send(self.request(items))

    # ---- what is the same for all

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch in as many requests as the vendor's limits ask for, ``concurrency`` at a time.

        What is refused for its contents is bisected. Once the vendor asks to be left alone, gives no answer or fails
        three times in a row, the rest waits without being tried. Blocks up to the lease.
        """
        if (missing := self.missing()) is not None:
            return [RetryAfter(missing, None, "setup")] * len(batch.payloads)
        if self.options.at_most_once and batch.maybe_delivered:
            error = f"a worker ended while it sent this, so {self.who} may have it; at_most_once is on: not sent again"
            return [Dead("maybe_delivered", error)] * len(batch.payloads)
        outcomes: dict[int, Outcome] = {}
        entries: list[_Entry[ItemT]] = []
        for position, payload in enumerate(batch.payloads):
            made = self._made(position, payload)
            if isinstance(made, _Entry):
                entries.append(made)
            else:
                outcomes[position] = made
        round_ = _Round(batch, self.options.connect_timeout_seconds + self.options.timeout_seconds)
        requests = self._packed(entries, outcomes)
        for request, found in zip(requests, self._at_a_time(requests, round_), strict=True):
            outcomes |= {entry.position: one for entry, one in zip(request, found, strict=True)}
        return [outcomes[position] for position in range(len(batch.payloads))]

    def preview(self, event: Event) -> dict[str, Any]:
        """What would be sent for an event, credentials masked; or why nothing would. Sends nothing."""
        try:
            ruled = event if self.rules is None else self.rules.apply(event)
            request = self.request([self.item(ruled)])
        except UndeliverableError as error:
            return {"outcome": "dead", "reason": error.reason, "error": str(error)}
        except DropEvent as drop:
            return {"outcome": "filtered", "reason": str(drop.reason)}
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

    def variable(self, option: str) -> str:
        """The environment variable of an option, for texts that say what to set."""
        return f"DISPATCHER_DESTINATIONS__{self.name.upper()}__{option.upper()}"

    def _made(self, position: int, payload: bytes) -> _Entry[ItemT] | Dead | Filtered:
        try:
            event = decode(payload)
            item = self.item(event if self.rules is None else self.rules.apply(event))
            entry = _Entry(position, event.id, item, self.item_bytes(item))
        except UndeliverableError as error:
            return Dead(error.reason, str(error))
        except DropEvent as drop:
            return Filtered(str(drop.reason))
        except (ValueError, OverflowError, RecursionError) as error:
            return Dead("undecodable", f"a payload of {len(payload)} bytes is not an event: {type(error).__name__}")
        limit = self.limits.event_bytes
        return entry if limit is None or entry.size <= limit else self._oversized(entry, entry.size, limit)

    def _oversized(self, entry: _Entry[ItemT], size: int, limit: int) -> Dead:
        error = f"event {entry.id} makes {size} bytes and {self.who} takes {limit}: put less into its data"
        return Dead("oversized", error)

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
        size = len(self.request([entry.item for entry in request]).body)
        if size <= most:
            return [request]
        if len(request) == 1:
            outcomes[request[0].position] = self._oversized(request[0], size, most)
            return []
        half = len(request) // 2
        return self._fitted(request[:half], outcomes) + self._fitted(request[half:], outcomes)

    def _at_a_time(self, requests: Sequence[list[_Entry[ItemT]]], round_: _Round) -> list[list[Outcome]]:
        def deliver(request: list[_Entry[ItemT]]) -> list[Outcome]:
            return send_bisected([entry.item for entry in request], lambda items: self._send(items, round_))

        if len(requests) < 2 or self.concurrency == 1:
            return [deliver(request) for request in requests]
        return list(self._threads().map(deliver, requests))

    def _threads(self) -> ThreadPoolExecutor:
        with self._starting:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix=f"{self.name}-")
            return self._pool

    def _send(self, items: Sequence[ItemT], round_: _Round) -> Outcome:
        if (stopped := round_.stopped()) is not None:
            return stopped
        if (late := self._await_turn(round_)) is not None:
            return late
        answer = self.send(items, attempt=round_.batch.attempt)
        outcome = answer.outcome if isinstance(answer, NoAnswer) else self.outcome(answer)
        if self.rate is not None:
            self.rate.heed(outcome)
        if self.options.at_most_once and isinstance(outcome, RetryAfter) and _may_be_done(answer, outcome):
            outcome = Dead(
                "unanswered", f"{outcome.error}; it may have it, and at_most_once is on: not sent again", whole=True
            )
        round_.heed(outcome, silent=isinstance(answer, NoAnswer))
        return outcome

    def _await_turn(self, round_: _Round) -> RetryAfter | None:
        """Wait until the rate lets one more request go; what would take too long waits in the store."""
        seconds = 0.0 if self.rate is None else self.rate.take(round_.patience())
        if seconds > round_.patience():
            return RetryAfter(f"{self.who} is sent to at its rate, and others are first", seconds, "paced")
        if seconds > 0:
            time.sleep(seconds)
        return round_.stopped()


@dataclass(frozen=True, slots=True)
class _Entry(Generic[ItemT]):
    position: int
    id: str
    item: ItemT
    size: int


class _Round:
    """What the requests of one batch tell each other: whether to go on. Safe in threads."""

    def __init__(self, batch: Batch, request_seconds: float) -> None:
        self.batch = batch
        now = time.monotonic()
        # A request that began later could end after the lease, when another worker has the batch. A lease shorter
        # than what a silent vendor may take is used for the most part all the same.
        self._last_start = batch.lease_until - min(request_seconds, (batch.lease_until - now) * _LAST_SHARE)
        self._turn_until = now + (batch.lease_until - now) * _WAITING_SHARE
        self._failure: RetryAfter | None = None
        self._in_a_row = 0
        self._lock = threading.Lock()

    def stopped(self) -> RetryAfter | None:
        """Why nothing more is to be sent, if so."""
        if self._failure is None and time.monotonic() > self._last_start:
            return RetryAfter("the lease leaves no time for another request", 0.0, "paced")
        return self._failure

    def patience(self) -> float:
        """Seconds that one may wait for one's turn."""
        return max(0.0, min(self._turn_until, self._last_start) - time.monotonic())

    def heed(self, outcome: Outcome, *, silent: bool) -> None:
        with self._lock:
            if not isinstance(outcome, RetryAfter):
                self._in_a_row = 0
                return
            self._in_a_row += 1
            if silent or outcome.kind != "transient" or self._in_a_row >= _FAILURES:
                self._failure = outcome


def _may_be_done(answer: Answer | NoAnswer, outcome: RetryAfter) -> bool:
    if isinstance(answer, NoAnswer):
        return answer.maybe_taken
    # 503 says that it was not; a gateway's 502 and 504, and a 500, say nothing of it.
    return outcome.kind == "transient" and answer.status != 503
