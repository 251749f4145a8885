"""OpenTelemetry: a request's trace to its deliveries, through a real relay and worker; and the metrics, pushed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from dispatcher.monitoring.metrics import DEFINITIONS
from tests.support.otlp_collector import OtlpCollector, attributes_of
from tests.support.site import ALLOWLIST, Site
from tests.support.tracking_lines import read_lines
from tests.support.vendor import Vendor
from tests.support.waiting import wait_for

SDK: Final = Path(__file__).resolve().parents[2] / ".venvs" / "opentelemetry-sdk"
pytestmark = pytest.mark.skipif(not SDK.is_dir(), reason="needs OpenTelemetry's SDK: make otel")

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
"""


def emit_traced(site: Site, collector: OtlpCollector) -> dict[str, str]:
    """Emit seven events, four of them in two sampled requests, and put them into one batch for each destination.

    Returns:
        The requests' spans by their traces.
    """
    environ = {**collector.environ, "DISPATCHER_RELAY__MODE": "external"}
    printed = site.emitting(APP, PYTHONPATH=str(SDK), **environ).succeed()
    # A relay in the app would put them as they come.
    site.processes.dispatcher("relay", "--once", **environ).succeed()
    return dict(line.split() for line in printed.splitlines())


def ids(span: Span) -> tuple[str, str, str]:
    return span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()


TABLES = """
[destinations.otlp_logs]
url = "{logs}"
events = ["shop.basket.*"]

[destinations.webhook]
url = "{receiver}"
events = ["shop.order.*"]
traceparent = true
concurrency = 2
"""


# In the children of a prefork pool, which send what is left before they end.
def test_one_trace_leads_from_a_request_to_its_deliveries(site: Site, collector: OtlpCollector) -> None:
    with Vendor() as receiver, OtlpCollector() as logs:
        site.allow(ALLOWLIST, more=TABLES.format(receiver=receiver.url, logs=logs.url))
        requests = emit_traced(site, collector)
        assert len(requests) == 2
        worker = site.worker("--pool", "prefork", **collector.environ)
        site.wait_until_delivered()
        assert worker.stop() == 0

    for destination, count in (("segment", 4), ("tracking_log", 7), ("webhook", 4)):
        first = check_delivery(collector.spans, destination, requests)
        facts = attributes_of(first)
        assert facts["messaging.destination.name"] == destination
        assert (facts["messaging.batch.message_count"], facts["dispatcher.delivered"]) == (count, count)
        assert facts["dispatcher.attempt"] == 1
        sent = [span for span in collector.spans if span.parent_span_id == first.span_id]
        assert {span.name for span in sent} == (set() if destination == "tracking_log" else {"POST"})
        for span in sent:
            assert span.trace_id == first.trace_id
            assert attributes_of(span)["http.response.status_code"] == 200
            assert attributes_of(span)["server.address"] == "127.0.0.1"
    # The receiver that is told continues the trace from the very request.
    told = {call.headers["traceparent"] for call in receiver.calls}
    assert told == {f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in sent}
    # A log record leads to its request.
    records = [record for log in logs.log_requests for record in log.resource_logs[0].scope_logs[0].log_records]
    assert {record.trace_id.hex(): record.span_id.hex() for record in records if record.trace_id} == requests
    assert len(records) == 3
    check_secrecy(site, collector, requests)


def check_delivery(spans: list[Span], destination: str, requests: dict[str, str]) -> Span:
    """Check that both requests have the spans of a destination, linked to each other. Returns the first one's."""
    delivered = [span for span in spans if span.name == f"deliver {destination}"]
    assert {ids(span)[0]: ids(span)[2] for span in delivered} == requests
    first, second = delivered
    assert [link.span_id for link in second.links] == [first.span_id]
    assert [link.trace_id for link in first.links] == [second.trace_id]
    put = [span for span in spans if span.name == f"put {destination}"]
    assert {ids(span)[0]: ids(span)[2] for span in put} == requests
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in (*put, *delivered))
    return first


def check_secrecy(site: Site, collector: OtlpCollector, requests: dict[str, str]) -> None:
    """Check that destinations that are told nothing have no trace, and that the collector has nothing of an event."""
    assert sorted(line["event"]["n"] for line in read_lines(site.log)) == [1, 1, 2, 2, 3, 3, 4]
    for output in (site.log, site.directory / "segment.jsonl"):
        text = output.read_text()
        assert "traceparent" not in text
        assert not any(trace in text for trace in requests)
    assert_nothing_leaked(collector)


def assert_nothing_leaked(collector: OtlpCollector) -> None:
    received = b"".join(call.content for call in collector.calls)
    assert received
    assert not any(secret.encode() in received for secret in SECRETS)


def test_the_exporter_pushes_what_prometheus_would_scrape(site: Site, collector: OtlpCollector) -> None:
    site.emitting("for n in range(7): tracker.emit('shop.order.paid', {'email': 'ann@example.org'})").succeed()

    exporter = site.processes.dispatcher("exporter", "--push-only", "--max-age", "0", **collector.environ)
    wait_for(lambda: len(collector.metric_requests) >= 2, what="two pushes")
    assert exporter.stop() == 0

    last = collector.metric_requests[-1].resource_metrics[0]
    resource = attributes_of(last.resource)
    assert (resource["service.name"], resource["dispatcher.role"]) == ("dispatcher", "exporter")
    metrics = {metric.name: metric for metric in last.scope_metrics[0].metrics}
    assert set(metrics) <= {definition.name for definition in DEFINITIONS}
    assert metrics["dispatcher_up"].gauge.data_points[0].as_double == 1
    accepted = metrics["dispatcher_events_accepted_total"].sum
    assert accepted.is_monotonic
    points = {attributes_of(point)["destination"]: point.as_double for point in accepted.data_points}
    assert points == {"tracking_log": 7, "segment": 7, "emit": 0}
    starts = {
        point.start_time_unix_nano
        for request in collector.metric_requests
        for metric in request.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == "dispatcher_events_accepted_total"
        for point in metric.sum.data_points
    }
    assert len(starts) == 1, "a sum is told from one time on"
    assert_nothing_leaked(collector)


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
