"""OpenTelemetry: a request's trace to its deliveries, through a real relay and worker; and the metrics, pushed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dispatcher.monitoring.metrics import DEFINITIONS
from tests.support.otlp_collector import OtlpCollector, attributes_of
from tests.support.site import Site
from tests.support.tracking_lines import read_lines
from tests.support.waiting import wait_for

SECRETS = ("ann@example.org", "a-key")


@pytest.fixture
def collector() -> Iterator[OtlpCollector]:
    with OtlpCollector() as collector:
        yield collector


APP = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

def request(sampler, number):
    with TracerProvider(sampler=sampler).get_tracer("shop").start_as_current_span("POST /buy") as span:
        tracker.emit("shop.order.paid", {"n": number, "email": "ann@example.org"})
        tracker.emit("shop.basket.filled", {"n": number})
        return span.get_span_context()

for number in (1, 2):
    span = request(ALWAYS_ON, number)
    print(f"{span.trace_id:032x} {span.span_id:016x}")
request(ALWAYS_OFF, 3)
tracker.emit("shop.order.paid", {"n": 4})
dispatcher.flush(60)
"""


def emit_traced(site: Site, collector: OtlpCollector) -> dict[str, str]:
    """Emit seven events, four of them in two sampled requests. Returns the requests' spans by their traces."""
    printed = site.emitting(APP, **collector.environ).succeed()
    return dict(line.split() for line in printed.splitlines())


def ids(span: Span) -> tuple[str, str, str]:
    return span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()


def deliver(site: Site, collector: OtlpCollector, *arguments: str, **environ: str) -> list[Span]:
    """Run a worker until all is delivered. Returns what it sent."""
    worker = site.worker(*arguments, **{**collector.environ, **environ})
    site.wait_until_delivered()
    spans = collector.wait_for_spans("deliver segment", "deliver tracking_log", "POST")
    assert worker.stop() == 0
    return spans or collector.spans


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_one_trace_leads_from_a_request_to_its_deliveries(site: Site, collector: OtlpCollector, pool: str) -> None:
    requests = emit_traced(site, collector)

    spans = deliver(site, collector, "--pool", pool)

    assert len(requests) == 2
    for destination in ("segment", "tracking_log"):
        delivered = [span for span in spans if span.name == f"deliver {destination}"]
        assert {ids(span)[0]: ids(span)[2] for span in delivered} == requests
        first, second = delivered
        assert [link.span_id for link in second.links] == [first.span_id]
        assert [link.trace_id for link in first.links] == [second.trace_id]
        facts = attributes_of(first)
        assert facts["messaging.destination.name"] == destination
        assert (facts["messaging.batch.message_count"], facts["dispatcher.attempt"]) == (
            (7, 1) if destination == "tracking_log" else (4, 1)
        )
        put = [span for span in spans if span.name == f"put {destination}"]
        assert {ids(span)[0]: ids(span)[2] for span in put} == requests
        assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in (*put, *delivered))
    [sent] = [span for span in spans if span.name == "POST"]
    top = next(span for span in spans if span.name == "deliver segment" and span.span_id == sent.parent_span_id)
    assert sent.trace_id == top.trace_id
    assert attributes_of(sent)["http.response.status_code"] == 200
    assert attributes_of(sent)["server.address"] == "127.0.0.1"


def test_no_destination_and_no_collector_sees_what_it_should_not(site: Site, collector: OtlpCollector) -> None:
    requests = emit_traced(site, collector)
    deliver(site, collector)

    assert sorted(line["event"]["n"] for line in read_lines(site.log)) == [1, 1, 2, 2, 3, 3, 4]
    for output in (site.log, site.directory / "segment.jsonl"):
        text = output.read_text()
        assert "traceparent" not in text
        assert not any(trace in text for trace in requests)
    received = b"".join(call.content for call in collector.calls)
    assert received
    assert not any(secret.encode() in received for secret in SECRETS)


def test_the_exporter_pushes_what_prometheus_would_scrape(site: Site, collector: OtlpCollector) -> None:
    site.emitting("for n in range(7): tracker.emit('shop.order.paid', {'email': 'ann@example.org'})").succeed()
    site.worker()
    site.wait_until_delivered()

    exporter = site.processes.dispatcher("exporter", "--push-only", "--max-age", "0", **collector.environ)
    wait_for(lambda: len(collector.metric_requests) >= 2, what="two pushes")
    assert exporter.stop() == 0

    last = collector.metric_requests[-1].resource_metrics[0]
    resource = attributes_of(last.resource)
    assert (resource["service.name"], resource["dispatcher.role"]) == ("dispatcher", "exporter")
    metrics = {metric.name: metric for metric in last.scope_metrics[0].metrics}
    assert set(metrics) <= {definition.name for definition in DEFINITIONS}
    assert metrics["dispatcher_up"].gauge.data_points[0].as_double == 1
    delivered = metrics["dispatcher_events_delivered_total"].sum
    assert delivered.is_monotonic
    points = {attributes_of(point)["destination"]: point for point in delivered.data_points}
    assert {name: point.as_double for name, point in points.items()} == {"tracking_log": 7, "segment": 7}
    starts = {
        point.start_time_unix_nano
        for request in collector.metric_requests
        for metric in request.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "dispatcher_events_delivered_total"
        for point in metric.sum.data_points
    }
    assert len(starts) == 1, "a sum is told from one time on"
    assert not any(secret.encode() in call.content for call in collector.calls for secret in SECRETS)


def test_a_collector_that_is_away_stops_nothing(site: Site, collector: OtlpCollector) -> None:
    environ = {**collector.environ, "OTEL_BSP_MAX_QUEUE_SIZE": "1", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}
    collector.close()
    emit_traced(site, collector)
    worker = site.worker(**environ)
    exporter = site.processes.dispatcher("exporter", "--port", "0", **environ)

    site.wait_until_delivered()
    exporter.wait_for_output("metrics are not pushed: 127.0.0.1:")
    assert worker.stop() == 0
    assert "spans were dropped so far in this process" in worker.output
    collector.start()
    wait_for(lambda: collector.metric_requests, what="a push")
    exporter.wait_for_output(" again")
    assert exporter.stop() == 0
