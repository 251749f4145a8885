"""Spans: a delivery as OpenTelemetry shows it, in the trace of each sampled request that emitted one of its events.

A batch has events of many requests. The span of its delivery stands in the trace of the first one, with the HTTP
requests below it and links to the others. Each of those has a span of its own, with the same times, and a link back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from dispatcher.monitoring.otel.span import CONSUMER, PRODUCER, Span, new_span_id, new_trace_id
from dispatcher.monitoring.otel.traceparent import Parent
from dispatcher.monitoring.otel.tracing import Tracing, active_tracing, delivery_span
from dispatcher.store.claim import Claim
from dispatcher.store.settlement import Settlement

# Traces that one batch is shown in. It may hold events of a thousand requests, and the first ones show what it was
# like.
_MAX_TRACES: Final = 20


class DeliverySpans:
    """The spans of one delivery, of a batch or of several that were claimed together. For one thread.

    Args:
        destination: Its name.
        claims: The batches.
        parents: For each batch the spans of the sampled requests that its events are from.
    """

    def __init__(self, destination: str, claims: Sequence[Claim], parents: Sequence[Sequence[Parent]]) -> None:
        self._destination = destination
        self._claims = claims
        self._tracing = active_tracing()
        self._began_ns = time.time_ns()
        self._parents: list[list[Parent]] = [[] for _ in claims]
        self._top: Parent | None = None
        self._above: Parent | None = None
        if self._tracing is not None:
            self._choose(self._tracing, parents)

    def _choose(self, tracing: Tracing, parents: Sequence[Sequence[Parent]]) -> None:
        self._parents = [
            [parent for parent in of_batch if tracing.sampler.takes_child(parent.trace_id)] for of_batch in parents
        ]
        self._above = next((parent for of_batch in self._parents for parent in of_batch), None)
        # Events without a trace: a request that was not sampled, or an app that does not trace.
        trace_id = new_trace_id() if self._above is None else self._above.trace_id
        if self._above is not None or (not any(parents) and tracing.sampler.takes_root(trace_id)):
            self._top = Parent(trace_id, new_span_id())

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Have the requests that are sent inside stand below the delivery's span."""
        if self._top is None:
            yield
            return
        token = delivery_span.set(self._top)
        try:
            yield
        finally:
            delivery_span.reset(token)

    def finish(self, settlements: Sequence[Settlement]) -> None:
        """Report what became of the batches. Does not block."""
        if self._tracing is not None and self._top is not None:
            ended_ns = time.time_ns()
            self._tracing.spans.add(list(self._spans(self._top, settlements, ended_ns)))

    def _spans(self, top: Parent, settlements: Sequence[Settlement], ended_ns: int) -> Iterator[Span]:
        others = [parent for of_batch in self._parents for parent in of_batch if parent != self._above]
        # The batch of the request that has the span; without any, the first one.
        owner = next((place for place, of_batch in enumerate(self._parents) if of_batch), 0)
        yield self._span(top, self._above, self._claims[owner], settlements[owner], ended_ns, links=others)
        for claim, settlement, parents in zip(self._claims, settlements, self._parents, strict=True):
            for parent in parents[:_MAX_TRACES]:
                if parent != self._above:
                    own = Parent(parent.trace_id, new_span_id())
                    yield self._span(own, parent, claim, settlement, ended_ns, links=[top])
                if claim.attempts == 0 and parent.emitted_at is not None:
                    yield self._put_span(parent, claim)

    def _span(
        self,
        own: Parent,
        above: Parent | None,
        claim: Claim,
        settlement: Settlement,
        ended_ns: int,
        *,
        links: Sequence[Parent],
    ) -> Span:
        return Span(
            trace_id=own.trace_id,
            span_id=own.span_id,
            parent_id="" if above is None else above.span_id,
            name=f"deliver {self._destination}",
            kind=CONSUMER,
            start_ns=self._began_ns,
            end_ns=ended_ns,
            attributes={
                # https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
                "messaging.system": "dispatcher",
                "messaging.operation.name": "deliver",
                "messaging.operation.type": "process",
                "messaging.destination.name": self._destination,
                **_counts_of(settlement),
                "dispatcher.batch": claim.batch_id,
                "dispatcher.attempt": claim.attempts + 1,
                "dispatcher.batches": len(self._claims),
            },
            links=links,
            is_error=bool(settlement.dead or settlement.left),
        )

    def _put_span(self, parent: Parent, claim: Claim) -> Span:
        """From the event's time until the relay had put it: how long it was in the outbox."""
        assert parent.emitted_at is not None
        return Span(
            trace_id=parent.trace_id,
            span_id=new_span_id(),
            parent_id=parent.span_id,
            name=f"put {self._destination}",
            kind=PRODUCER,
            start_ns=int(parent.emitted_at.timestamp() * 1e6) * 1_000,
            end_ns=claim.put_ms * 1_000_000,
            attributes={
                "messaging.system": "dispatcher",
                "messaging.operation.name": "put",
                "messaging.operation.type": "send",
                "messaging.destination.name": self._destination,
                "dispatcher.batch": claim.batch_id,
            },
        )


def _counts_of(settlement: Settlement) -> dict[str, int]:
    filtered = sum(settlement.filtered.values())
    dead, left = len(settlement.dead), len(settlement.left)
    posted = len(settlement.posted)
    return {
        "messaging.batch.message_count": settlement.delivered + filtered + dead + left + posted,
        "dispatcher.delivered": settlement.delivered,
        "dispatcher.filtered": filtered,
        "dispatcher.dead": dead,
        "dispatcher.parked": left,
    }
