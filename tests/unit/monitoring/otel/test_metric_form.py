"""The metrics in OTLP's form say what Prometheus' text says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.monitoring.exporter import SnapshotCollector
from dispatcher.monitoring.latest_snapshot import LatestSnapshot
from dispatcher.monitoring.otel.metrics_pusher import MetricForm
from dispatcher.monitoring.snapshot import Snapshot
from tests.support.otlp_collector import attributes_of
from tests.support.snapshots import away, troubled


def pushed(metrics: list[dict[str, Any]]) -> dict[str, Metric]:
    """The metrics as OpenTelemetry's own classes read them."""
    read = [json_format.ParseDict(metric, Metric()) for metric in metrics]
    return {metric.name: metric for metric in read}


def points_of(metric: Metric) -> Any:
    return metric.sum.data_points if metric.HasField("sum") else metric.gauge.data_points


def scraped(snapshot: Snapshot) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(LatestSnapshot(lambda: snapshot, max_age_seconds=0)))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_each_value_of_a_scrape_is_pushed_with_its_labels() -> None:
    for snapshot in (troubled(), away()):
        found = {
            (name, frozenset(attributes_of(point).items())): point.as_double
            for name, metric in pushed(MetricForm().metrics_of(snapshot)).items()
            for point in points_of(metric)
        }
        assert found == scraped(snapshot)


def test_counters_are_sums_since_the_first_push_and_start_again_with_the_ledger() -> None:
    form = MetricForm()
    first, before = troubled(), 1.0
    second = replace(first, at=first.at + 60)
    name = "dispatcher_events_accepted_total"
    for snapshot in (first, second):
        metric = pushed(form.metrics_of(snapshot))[name]
        assert metric.sum.is_monotonic
        assert {point.start_time_unix_nano for point in points_of(metric)} == {int(first.at * 1e9)}
        before = max(point.as_double for point in points_of(metric))
    assert before > 0

    lost = {name: type(counts)() for name, counts in second.ledger.destinations.items()}
    third = replace(second, at=second.at + 60, ledger=replace(second.ledger, destinations=lost))
    points = points_of(pushed(form.metrics_of(third))[name])
    starts = {point.start_time_unix_nano for point in points if not point.as_double}
    assert int(second.at * 1e9) in starts


def test_units_are_those_of_the_names() -> None:
    found = pushed(MetricForm().metrics_of(troubled()))

    assert found["dispatcher_outbox_disk_bytes"].unit == "By"
    assert found["dispatcher_last_delivery_timestamp_seconds"].unit == "s"
    assert found["dispatcher_up"].unit == ""
