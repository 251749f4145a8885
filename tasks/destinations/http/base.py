"""HttpDestination: the base of every destination that takes events over HTTP, and what a vendor's module defines.

How a batch is delivered: each event goes through the operator's rules (consent, mapping, privacy) and becomes an item;
items become requests within the vendor's limits (packing.py); requests are sent, several at a time and at the rate of
all workers, and each answer becomes the outcomes of its events (sending.py).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec
from pydantic import Field

from dispatcher.destinations.base import Batch, Destination, Options
from dispatcher.event import encode
from dispatcher.outcomes import MAYBE_DELIVERED, Dead, Filtered, Outcome, RetryAfter
from dispatcher.tasks.destinations.http.client import HttpClient, NoAnswer
from dispatcher.tasks.destinations.http.compression import DEFAULT_LEVEL, Compression
from dispatcher.tasks.destinations.http.masking import request_to_show, secrets_of
from dispatcher.tasks.destinations.http.mistakes import report_mistake
from dispatcher.tasks.destinations.http.packing import Packed, pack, too_deep
from dispatcher.tasks.destinations.http.sending import Sender
from dispatcher.tasks.destinations.http.status import outcome_of_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate
    from dispatcher.tasks.destinations.http.answer import Answer
    from dispatcher.tasks.destinations.http.request import Request

# Requests at a time if the vendor takes one event in each and the settings do not say.
_CONCURRENCY: Final = 8
# Connections that are kept open at least. Only as many as requests were under way at a time are ever opened, which is a
# worker's places; those that have not been used for a while are closed.
_CONNECTIONS: Final = 100

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a vendor takes. Sizes are before compression.

    Args:
        events: Events in one request.
        request_bytes: Bytes of one request's body; None for no limit.
        event_bytes: Bytes of one item, as ``item_bytes`` counts them; None for no limit.
    """

    events: int = 1
    request_bytes: int | None = None
    event_bytes: int | None = None


class HttpOptions(Options):
    """The settings that every HTTP destination has."""

    timeout_seconds: float = Field(
        default=10,
        gt=0,
        allow_inf_nan=False,
        description="How long a request may take, from sending it to the end of its answer.",
    )
    connect_timeout_seconds: float = Field(
        default=3, gt=0, allow_inf_nan=False, description="How long connecting may take, TLS included."
    )
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
    gzip: bool | None = Field(
        default=None,
        description="Compress bodies of 2 KB and more; absent: where the vendor is known to take that, as Segment is.",
    )
    gzip_level: int = Field(
        default=DEFAULT_LEVEL, ge=1, le=9, description="How hard to compress: 1 is fast, 9 saves a little more."
    )
    traceparent: bool = Field(
        default=False,
        description="Requests of a traced delivery carry the header `traceparent`, so that the receiver continues it.",
    )


HttpOptionsT = TypeVar("HttpOptionsT", bound=HttpOptions)


class HttpDestination(Destination[HttpOptionsT], Generic[HttpOptionsT, ItemT]):
    """Base of HTTP destinations. A subclass defines ``Options``, ``limits``, ``endpoint``, ``item`` and ``request``.

    ``item``, ``request`` and ``group`` are pure: `dispatcher explain` calls them too. All methods may be called from
    several threads at a time. Connections and threads must not cross a fork: make it in the process that uses it.

    Args:
        name: The name of its table in the settings.
        options: The validated options of its own.
        rules: What the operator wants done with each event first. None for nothing.
        rate: How fast all workers together may send. None for no limit.
    """

    #: The most that the vendor takes. A subclass whose options decide it sets it before it calls ``__init__`` here.
    limits: Limits = Limits()
    #: Whether ``outcome`` looks at the body of an answer. Where it does not, the status line decides: a body that never
    #: ends, or has no valid form, changes nothing. A class with an ``outcome`` of its own is taken for one that does,
    #: unless it says otherwise.
    body_matters: ClassVar[bool] = False
    #: Whether events with equal contexts have the same dict as context, so that what follows from it can be made once
    #: (``per_context.PerContext``). Such a class must never change it, nor anything in it.
    shares_contexts: ClassVar[bool] = False

    #: Whether the vendor is known to take requests that are compressed with gzip; ``gzip`` in the settings wins.
    takes_gzip: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "outcome" in vars(cls) and "body_matters" not in vars(cls):
            cls.body_matters = True

    def __init__(
        self, name: str, options: HttpOptionsT, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        super().__init__(name, options, rules=rules, rate=rate)
        #: How many requests are sent at a time in this process.
        self.concurrency: Final = options.concurrency or (_CONCURRENCY if self.limits.events == 1 else 1)
        #: What errors call the destination, such as ``Segment at api.segment.io``; holds neither path nor query.
        self.label: Final = f"{type(self).__name__} at {urlsplit(self.endpoint).netloc}"
        self._client = HttpClient(
            label=self.label,
            connect_seconds=options.connect_timeout_seconds,
            answer_seconds=options.timeout_seconds,
            connections=max(self.concurrency, _CONNECTIONS),
            tells_trace=options.traceparent,
        )
        is_compressed = self.takes_gzip if options.gzip is None else options.gzip
        self._compression = Compression(label=self.label, is_on=is_compressed, level=options.gzip_level)
        self._sender = Sender(self)

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The URL that requests go to, without credentials. Its host is named in errors."""

    @abstractmethod
    def item(self, event: Event) -> ItemT:
        """What an event becomes in a request. Pure: the event and its dicts stay as they are.

        Raises:
            UndeliverableError: The vendor cannot take the event. The message says how to mend that, and holds neither
                personal data nor credentials.
            DropEvent: The event is to be left out, for the reason given.
            TryLaterError: Something that is asked for it is away. After three such events in a row the batch waits.
        """

    @abstractmethod
    def request(self, items: Sequence[ItemT]) -> Request:
        """The request for some items, which are of one group and within the limits. Pure."""

    def sign(self, request: Request) -> Request:
        """Add what depends on the time of sending, such as a signature; by default the request stays as it is.

        Called right before each attempt.
        """
        return request

    def group(self, item: ItemT) -> Hashable:
        """What the items of a request have in common: others go in other requests. By default all go together."""
        return None

    def item_bytes(self, item: ItemT) -> int:
        """How many bytes of a request's body an item takes; by default its size as JSON, or as bytes if it is bytes."""
        return len(item) if isinstance(item, bytes) else len(msgspec.json.encode(item))

    def body_bytes(self, items: Sequence[ItemT], items_bytes: int) -> int:
        """How many bytes the body of a request for some items has. By default the request is made to find out.

        Args:
            items: The items.
            items_bytes: The sum of their ``item_bytes``.
        """
        return len(self.request(items).body)

    def outcome(self, answer: Answer, items: Sequence[ItemT]) -> Outcome:
        """What an answer means for each item that was sent; by default its status decides.

        If it is Dead and the request had several items, they are sent again in halves until the bad ones are found.
        """
        return outcome_of_status(answer.status, label=self.label, retry_after=answer.headers.get("Retry-After"))

    @property
    def send_seconds(self) -> float:
        """How many seconds ``send`` takes at most, whatever the vendor does."""
        return self.longest_seconds(self.options)

    def send(self, items: Sequence[ItemT], *, attempt: int) -> Answer | NoAnswer:
        """Send one request. A subclass whose vendor has a package of its own for that calls it here.

        Blocks up to ``send_seconds``. Raises nothing for what a network, a vendor or a setting may do.

        Args:
            items: What to send.
            attempt: How often the batch was parked before.
        """
        return self.send_built(lambda: self.sign(self.request(items)))

    def send_built(self, build: Callable[[], Request]) -> Answer | NoAnswer:
        """Build a request and send it. A request that cannot be built is not sent, and its events wait.

        Args:
            build: Makes the request. What it raises is a mistake of the destination's; RecursionError is left to the
                caller, who looks for the event that nests too deeply.
        """
        try:
            request = build()
        except RecursionError:
            raise
        except Exception as error:
            return NoAnswer(RetryAfter(report_mistake(self, error)), maybe_taken=False)
        compressed = self._compression.apply(request)
        answer = self._client.send(compressed, reads_body=self.body_matters)
        if compressed is request or isinstance(answer, NoAnswer) or not self._compression.is_refused(answer):
            return answer
        problem = f"{self.label} does not take compressed requests: from now on they are sent as they are"
        return NoAnswer(RetryAfter(problem), maybe_taken=False)

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Send a batch in as many requests as the vendor's limits require, ``concurrency`` at a time.

        A request that the vendor refuses for its contents is bisected. Once the vendor asks to be left alone, gives no
        answer or fails three times in a row, the rest waits without being tried. Blocks up to the lease.
        """
        return self._deliver([batch])[0]

    def deliver_all(self, batches: Sequence[Batch]) -> Sequence[Sequence[Outcome] | Exception]:
        """Send several batches, whose events share requests, as one batch of all of them would be sent.

        Requests say the attempt of the batch that has most of them, and the lease that ends first counts. A class with
        a ``deliver`` of its own has that called for each batch instead.
        """
        if type(self).deliver is not HttpDestination.deliver:
            return super().deliver_all(batches)
        return self._deliver(batches)

    @property
    def joins_batches(self) -> bool:
        """Whether events of several batches may share a request: not where a request takes one.

        Where it takes those of one person, a person's events of several batches go together, and one task sends as many
        requests at a time as ``concurrency`` says, not one for each batch.
        """
        return self.limits.events > 1 and super().joins_batches

    def _deliver(self, batches: Sequence[Batch]) -> list[list[Outcome]]:
        if (missing := self.missing_settings()) is not None:
            return [[RetryAfter(missing, None, "setup")] * len(batch.payloads) for batch in batches]
        to_send = [batch for batch in batches if not (self.options.at_most_once and batch.maybe_delivered)]
        outcomes = iter(self._send_together(to_send)) if to_send else iter(())
        error = (
            f"a worker ended while it sent this, or Redis has lost what became of it, so {self.label} may have it; "
            "at_most_once is on: not sent again"
        )
        unsent = Dead(MAYBE_DELIVERED, error, asked=False)
        return [
            [unsent] * len(batch.payloads)
            if self.options.at_most_once and batch.maybe_delivered
            else [next(outcomes) for _ in batch.payloads]
            for batch in batches
        ]

    def _send_together(self, batches: Sequence[Batch]) -> list[Outcome]:
        """The outcomes of all events of some batches, in order, whose events go in the same requests."""
        together = batches[0]
        if len(batches) > 1:
            together = replace(
                together,
                payloads=tuple(payload for batch in batches for payload in batch.payloads),
                attempt=max(batch.attempt for batch in batches),
                lease_until=min(batch.lease_until for batch in batches),
            )
        packed = pack(self, together.payloads)
        outcomes: dict[int, Outcome] = {**packed.outcomes}
        sent = self._sender.send_all([[entry.item for entry in request] for request in packed.requests], together)
        for request, request_outcomes in zip(packed.requests, sent, strict=True):
            outcomes |= {entry.position: outcome for entry, outcome in zip(request, request_outcomes, strict=True)}
        return [outcomes[position] for position in range(len(together.payloads))]

    def preview(self, event: Event) -> dict[str, Any]:
        """The request that would be sent for an event, credentials masked; or why none would. Sends nothing.

        Returns:
            ``{"request": …}``, with ``missing`` if the settings lack something, so that it would wait; or
            ``{"outcome": "dead" or "filtered", "reason": …}``, with ``error`` if it is dead.
        """
        try:
            packed = pack(self, [encode(event)])
        except RecursionError:
            packed = Packed([], {0: too_deep(f"event {event.id}")})
        outcome = packed.outcomes.get(0)
        if isinstance(outcome, Dead):
            return {"outcome": "dead", "reason": outcome.reason, "error": outcome.error}
        if isinstance(outcome, Filtered):
            return {"outcome": "filtered", "reason": outcome.reason}
        if isinstance(outcome, RetryAfter):
            return {"missing": outcome.error}
        try:
            request = self.sign(self.request([entry.item for entry in packed.requests[0]]))
            preview: dict[str, Any] = {"request": request_to_show(request, secrets_of(self.options))}
        except RecursionError:
            dead = too_deep(f"event {event.id}")
            return {"outcome": "dead", "reason": dead.reason, "error": dead.error}
        if (missing := self.missing_settings()) is not None:
            preview["missing"] = missing
        return preview

    def close(self) -> None:
        """Close connections and end threads. May be called twice; ``deliver`` opens them again."""
        self._sender.close()
        self._client.close()
