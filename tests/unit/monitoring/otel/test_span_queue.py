"""Spans are sent from a thread; a collector that is away, slow or full costs spans, and nobody's time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from dispatcher.monitoring.otel.client import OtlpClient, Sent
from dispatcher.monitoring.otel.span import Span, new_span_id, new_trace_id
from dispatcher.monitoring.otel.span_queue import SpanQueue
from dispatcher.monitoring.otel.variables import OtlpTarget
from tests.support.otlp_collector import OtlpCollector
from tests.support.vendor import CUT, SILENT, Reply
from tests.support.waiting import PATIENCE, wait_for


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as collector:
        yield collector


def client_of(collector: OtlpCollector, *, timeout_seconds: float = 30, is_compressed: bool = False) -> OtlpClient:
    return OtlpClient(
        OtlpTarget(
            url=f"{collector.url}/v1/traces",
            headers={"Api-Key": "k"},
            timeout_seconds=timeout_seconds,
            is_compressed=is_compressed,
        )
    )


def queue_of(client: OtlpClient, *, limit: int = 100, batch: int = 10) -> SpanQueue:
    return SpanQueue(client, {"attributes": []}, seconds=0.01, limit=limit, batch=batch)


def spans_of(count: int, name: str = "deliver") -> list[Span]:
    now = time.time_ns()
    trace_id = new_trace_id()
    return [
        Span(trace_id=trace_id, span_id=new_span_id(), name=name, start_ns=now, end_ns=now + 1) for _ in range(count)
    ]


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "gzip"])
def test_all_spans_come_in_batches(collector: OtlpCollector, is_compressed: bool) -> None:
    queue = queue_of(client_of(collector, is_compressed=is_compressed))
    sent = spans_of(25)

    queue.add(sent[:5])
    queue.add(sent[5:])
    queue.stop(PATIENCE)

    assert [span.span_id.hex() for span in collector.spans] == [span.span_id for span in sent]
    assert max(len(request.resource_spans[0].scope_spans[0].spans) for request in collector.trace_requests) <= 10
    assert {call.headers["api-key"] for call in collector.calls} == {"k"}
    assert queue.dropped == 0


def test_what_comes_to_a_full_queue_is_dropped_and_counted(collector: OtlpCollector) -> None:
    collector.always = SILENT
    queue = queue_of(client_of(collector, timeout_seconds=PATIENCE), limit=20)
    queue.add(spans_of(10))
    wait_for(lambda: collector.calls, what="a request that gets no answer")

    queue.add(spans_of(25))

    assert queue.dropped == 5
    collector.close()
    queue.stop(PATIENCE)


@pytest.mark.parametrize(
    ("reply", "sends", "dropped"),
    [
        (Reply(status=503), 2, 0),
        (Reply(status=429, headers={"Retry-After": "0"}), 2, 0),
        (CUT, 2, 0),
        (Reply(status=500), 1, 3),
        (Reply(status=400), 1, 3),
        (Reply(status=302, headers={"Location": "/v1/traces"}), 1, 3),
        (Reply(body=b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no"}}'), 1, 2),
        (Reply(body=b"not JSON"), 1, 0),
    ],
    ids=["503", "429", "cut", "500", "400", "a redirect", "a part of it", "no JSON"],
)
def test_only_what_may_pass_is_tried_again(collector: OtlpCollector, reply: Reply, sends: int, dropped: int) -> None:
    collector.script = [reply]
    queue = queue_of(client_of(collector))

    queue.add(spans_of(3))

    wait_for(lambda: len(collector.calls) == sends and queue.dropped == dropped, what=lambda: f"{queue.dropped}")
    queue.stop(PATIENCE)
    assert (len(collector.calls), queue.dropped) == (sends, dropped)


def test_a_collector_that_stays_away_costs_the_spans_and_is_named(
    collector: OtlpCollector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.close()
    queue = queue_of(client_of(collector))

    queue.add(spans_of(3))
    wait_for(lambda: queue.dropped == 3, what="the spans to be given up")
    queue.stop(PATIENCE)

    assert "3 spans were dropped so far in this process: 127.0.0.1:" in caplog.text
    assert "k" not in caplog.messages[0].split()


def test_a_pause_that_is_asked_for_is_kept_within_bounds(collector: OtlpCollector) -> None:
    client = client_of(collector)
    for asked, pause in (("7", 7), ("9999999", 300), ("-1", 0), ("soon", 0), ("Sun, 06 Nov 1994 08:49:37 GMT", 0)):
        collector.script = [Reply(status=503, headers={"Retry-After": asked})]
        label = collector.url.removeprefix("http://")
        assert client.send(b"{}") == Sent(f"{label} answered 503", may_retry=True, pause_seconds=pause)


# Python 3.12 and newer warn of what a pool of processes does all the time.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_sends_its_own_spans_only(collector: OtlpCollector) -> None:
    queue = queue_of(client_of(collector))
    queue.add(spans_of(1, "parent"))
    wait_for(lambda: len(collector.spans) == 1, what="the parent's span")
    child = os.fork()
    if child == 0:
        try:
            queue.add(spans_of(2, "child"))
            queue.stop(PATIENCE)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    queue.add(spans_of(1, "parent"))
    queue.stop(PATIENCE)

    assert sorted(span.name for span in collector.spans) == ["child", "child", "parent", "parent"]
