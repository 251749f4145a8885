"""The spans of a delivery: in whose traces they stand, and what they say of the batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from dispatcher.monitoring.otel.traceparent import Parent
from dispatcher.monitoring.otel.tracing import active_tracing, delivery_span, start_tracing
from dispatcher.monitoring.otel.variables import OtelVariables, read_otel
from dispatcher.store.claim import Claim
from dispatcher.store.settlement import Settlement
from dispatcher.tasks.delivery.spans import DeliverySpans
from tests.support.otlp_collector import OtlpCollector, attributes_of
from tests.support.waiting import PATIENCE

Deliver = Callable[..., list[Span]]
EMITTED = datetime(2026, 11, 29, 12, 0, 0, 250_000, tzinfo=UTC)
PUT_MS = int(EMITTED.timestamp() * 1000) + 500


def parent(number: int) -> Parent:
    """The span of a request, each in a trace of its own."""
    return Parent(f"{number:032x}", f"{number:016x}", EMITTED)


def claim(batch_id: str = "b-0", *, attempts: int = 0) -> Claim:
    return Claim(
        destination="segment",
        batch_id=batch_id,
        token="t",
        payloads=(b"{}",),
        attempts=attempts,
        maybe_delivered=False,
        put_ms=PUT_MS,
        claimed_ms=PUT_MS,
    )


@pytest.fixture
def deliver() -> Iterator[Deliver]:
    """Returns what a delivery of batches with these parents sends, as a collector reads it."""
    with OtlpCollector() as collector:

        def deliver(
            parents: Sequence[Sequence[Parent]],
            settlements: Sequence[Settlement] = (Settlement(delivered=1),),
            *,
            attempts: int = 0,
            **environ: str,
        ) -> list[Span]:
            tracing = start_tracing(read_otel({**collector.environ, **environ}), role="worker")
            assert tracing is not None
            claims = [claim(f"b-{number}", attempts=attempts) for number in range(len(parents))]
            spans = DeliverySpans("segment", claims, parents)
            with spans.under_way():
                inside = delivery_span.get()
            spans.finish(settlements)
            tracing.spans.stop(PATIENCE)
            found = collector.spans
            assert (inside is None) is (not found)
            assert delivery_span.get() is None
            return found

        yield deliver
    start_tracing(OtelVariables(), role="worker")
    assert active_tracing() is None


def test_a_delivery_stands_in_the_trace_of_its_request_with_the_way_there(deliver: Deliver) -> None:
    put, delivered = sorted(deliver([[parent(1)]]), key=lambda span: span.name, reverse=True)

    assert (delivered.name, delivered.kind) == ("deliver segment", Span.SPAN_KIND_CONSUMER)
    assert (put.name, put.kind) == ("put segment", Span.SPAN_KIND_PRODUCER)
    for span in (put, delivered):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (parent(1).trace_id, parent(1).span_id)
    assert (put.end_time_unix_nano - put.start_time_unix_nano) == 500_000_000
    assert attributes_of(delivered)["dispatcher.batch"] == "b-0"
    assert delivered.status.code == Status.STATUS_CODE_UNSET


def test_a_retry_shows_its_try_and_not_the_way_there_again(deliver: Deliver) -> None:
    (span,) = deliver([[parent(1)]], [Settlement(left=[b"{}"])], attempts=3)

    facts = attributes_of(span)
    assert (facts["dispatcher.attempt"], facts["dispatcher.parked"]) == (4, 1)
    assert span.status.code == Status.STATUS_CODE_ERROR


def test_batches_that_go_together_are_linked_and_keep_their_own_counts(deliver: Deliver) -> None:
    settlements = [Settlement(delivered=9), Settlement(delivered=2), Settlement(filtered={"consent": 3})]

    found = deliver([[], [parent(1)], [parent(1), parent(2)]], settlements, attempts=1)

    top, other = found
    assert (top.parent_span_id.hex(), other.parent_span_id.hex()) == (parent(1).span_id, parent(2).span_id)
    assert [link.span_id for link in other.links] == [top.span_id]
    assert [link.trace_id.hex() for link in top.links] == [parent(2).trace_id]
    counts = [attributes_of(span)["messaging.batch.message_count"] for span in found]
    batches = [(attributes_of(span)["dispatcher.batch"], attributes_of(span)["dispatcher.batches"]) for span in found]
    assert (counts, batches) == ([2, 3], [("b-1", 3), ("b-2", 3)])


def test_a_batch_of_many_requests_is_shown_in_the_first_twenty(deliver: Deliver) -> None:
    found = deliver([[parent(number) for number in range(1, 201)]], attempts=1)

    assert len(found) == 20
    top = next(span for span in found if span.parent_span_id.hex() == parent(1).span_id)
    assert (len(top.links), top.dropped_links_count) == (128, 71)


def test_without_a_sampler_a_delivery_of_no_sampled_request_has_no_span(deliver: Deliver) -> None:
    assert deliver([[]]) == []


def test_a_sampler_gives_it_a_trace_of_its_own(deliver: Deliver) -> None:
    (span,) = deliver([[], []], [Settlement(delivered=1)] * 2, OTEL_TRACES_SAMPLER="parentbased_always_on")

    assert not span.parent_span_id
    assert len(span.trace_id) == 16


def test_a_sampler_that_takes_nothing_takes_no_request_either(deliver: Deliver) -> None:
    assert deliver([[parent(1)]], OTEL_TRACES_SAMPLER="always_off") == []
