"""The metrics: what Prometheus reads of a snapshot, and how often that is taken."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from dispatcher.monitoring.exporter import SnapshotCollector
from dispatcher.monitoring.latest_snapshot import LatestSnapshot
from dispatcher.monitoring.metrics import DEFINITIONS
from dispatcher.monitoring.snapshot import Memory, Snapshot
from dispatcher.store.counts import Counts
from dispatcher.version import __version__
from tests.support.snapshots import LIMIT, NOW_MS, away, quiet, snapshot_of, troubled

Sample = tuple[str, frozenset[tuple[str, str]]]


def printed(found: Snapshot) -> dict[Sample, float]:
    """The values of a scrape, by name and labels."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(LatestSnapshot(lambda: found, max_age_seconds=0)))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def value(values: dict[Sample, float], name: str, **labels: str) -> float | None:
    return values.get((f"dispatcher_{name}", frozenset(labels.items())))


def names(values: dict[Sample, float]) -> set[str]:
    return {name for name, _ in values}


def test_every_destination_has_a_ledger_that_closes() -> None:
    found = printed(troubled())

    for destination in ("tracking_log", "segment", "emit", "google_analytics"):
        accepted = value(found, "events_accepted_total", destination=destination)
        parts = [
            number
            for (name, labels), number in found.items()
            if ("destination", destination) in labels
            and name
            in {
                "dispatcher_events_delivered_total",
                "dispatcher_events_waiting",
                "dispatcher_events_filtered_total",
                "dispatcher_dead_letters",
            }
        ]
        assert accepted == sum(parts)
        assert value(found, "ledger_difference", destination=destination) == 0


def test_reasons_and_states_are_labels() -> None:
    found = printed(troubled())

    assert value(found, "events_filtered_total", destination="segment", reason="internal") == 88
    assert value(found, "dead_letters_by_reason", destination="segment", reason="oversized") == 10
    assert value(found, "events_waiting", destination="segment", state="parked") == 45_478
    assert value(found, "events_waiting", destination="tracking_log", state="claimed") == 278
    assert value(found, "batches_waiting", destination="segment", state="queued") == 1
    assert value(found, "doorbells_waiting", destination="segment") == 4


def test_a_ledger_that_does_not_close_shows_the_difference() -> None:
    found = printed(snapshot_of({"tracking_log": Counts(accepted=10, delivered=12)}))

    assert value(found, "ledger_difference", destination="tracking_log") == -2


def test_ages_are_seconds_when_the_snapshot_was_taken_and_0_if_nothing_waits() -> None:
    found = printed(troubled())

    assert value(found, "oldest_waiting_seconds", destination="segment") == 245
    assert value(printed(quiet()), "oldest_waiting_seconds", destination="segment") == 0
    assert value(found, "outbox_oldest_seconds") == 40
    assert value(printed(quiet()), "outbox_oldest_seconds") == 0
    assert value(found, "last_error_timestamp_seconds", destination="segment") == NOW_MS / 1000 - 3
    assert value(found, "last_error_timestamp_seconds", destination="tracking_log") is None


@pytest.mark.parametrize(
    ("due_ms", "overdue"), [(NOW_MS - 90_000, 90), (NOW_MS + 1_000, 0), (None, 0)], ids=["due", "not due", "none"]
)
def test_overdue_counts_events_that_a_worker_could_have_tried(due_ms: int | None, overdue: float) -> None:
    found = printed(snapshot_of({"segment": Counts(accepted=1, parked=1, due_ms=due_ms)}))

    assert value(found, "overdue_seconds", destination="segment") == overdue


def test_events_behind_an_open_breaker_are_not_overdue() -> None:
    assert value(printed(troubled()), "overdue_seconds", destination="segment") == 0


def test_the_breaker_has_its_cause_as_a_label_only_while_it_is_not_closed() -> None:
    found = printed(troubled())

    assert value(found, "breaker_open", destination="segment") == 1
    assert value(found, "breaker_cause", destination="segment", cause="transient") == 1
    assert value(found, "breaker_cause", destination="segment", cause="setup") == 0
    assert value(found, "breaker_open", destination="tracking_log") == 0
    assert value(found, "breaker_cause", destination="tracking_log", cause="transient") == 0
    assert value(found, "breaker_opened_total", destination="segment") == 2
    assert value(found, "breaker_failures", destination="segment") == 9


def test_a_rate_limit_shows_its_set_and_present_value_if_there_is_one() -> None:
    found = printed(troubled())

    assert value(found, "rate_limit_per_second", destination="segment") == 40
    assert value(found, "rate_current_per_second", destination="segment") == 2.5
    assert value(found, "rate_limit_per_second", destination="tracking_log") is None
    assert value(found, "rate_current_per_second", destination="tracking_log") is None


def test_an_unserved_destination_is_marked() -> None:
    found = printed(troubled())

    assert value(found, "destination_enabled", destination="google_analytics") == 0
    assert value(found, "destination_enabled", destination="segment") == 1
    assert value(found, "events_waiting", destination="google_analytics", state="parked") == 200


def test_outboxes_are_summed_separately_for_living_and_dead_processes() -> None:
    found = printed(troubled())

    assert value(found, "outbox_events") == 1_246
    assert value(found, "outbox_bytes") == 1_246_000
    assert value(found, "outbox_disk_bytes") == 3 * 8_388_608
    assert value(found, "outbox_limit_bytes") == LIMIT
    assert value(found, "outbox_refused_events") == 2
    assert value(found, "outbox_directories", owner="alive") == 2
    assert value(found, "outbox_directories", owner="dead") == 1


def test_without_redis_there_are_the_outboxes_and_no_stale_numbers() -> None:
    found = printed(away())

    assert value(found, "up") == 0
    assert value(found, "outbox_events") == 5
    assert {name for name in names(found) if not name.startswith("dispatcher_outbox_")} == {
        "dispatcher_up",
        "dispatcher_build_info",
    }


def test_the_memory_limit_of_redis_is_shown_only_if_it_has_one() -> None:
    assert value(printed(troubled()), "redis_memory_limit_bytes") == 1_000_000_000
    assert value(printed(quiet()), "redis_memory_bytes") == 1_400_000
    assert value(printed(quiet()), "redis_memory_limit_bytes") is None
    assert value(printed(replace(quiet(), memory=None)), "redis_memory_bytes") is None
    assert value(printed(replace(quiet(), memory=Memory(1, 2))), "up") == 1


def test_the_row_of_emit_has_no_waiting_events() -> None:
    of_emit = {name for name, labels in printed(troubled()) if ("destination", "emit") in labels}

    assert of_emit == {
        "dispatcher_events_accepted_total",
        "dispatcher_dead_letter_bytes",
        "dispatcher_dead_letter_oldest_seconds",
        "dispatcher_dead_letters",
        "dispatcher_dead_letters_by_reason",
        "dispatcher_ledger_difference",
    }


def test_reasons_that_an_app_invents_cannot_fill_prometheus() -> None:
    reasons = {f"user {number}": 1 for number in range(1_000)}
    found = printed(
        snapshot_of({"segment": Counts(accepted=2_000, filtered=2_000, filtered_by_reason={**reasons, "often": 1_000})})
    )

    shown = {labels: number for (name, labels), number in found.items() if name.endswith("filtered_total")}
    assert len(shown) == 51
    assert sum(shown.values()) == 2_000
    assert value(found, "events_filtered_total", destination="segment", reason="often") == 1_000


def test_the_version_is_a_metric() -> None:
    assert value(printed(quiet()), "build_info", version=__version__) == 1


def test_the_names_follow_the_conventions_of_prometheus() -> None:
    assert len({definition.name for definition in DEFINITIONS}) == len(DEFINITIONS)
    for definition in DEFINITIONS:
        assert definition.name.startswith("dispatcher_")
        assert definition.name.endswith("_total") == (definition.type == "counter"), definition.name
        assert definition.help.endswith("."), definition.name
        assert not definition.name.endswith(("_ms", "_mb", "_minutes", "_percent")), definition.name


def test_a_complete_site_prints_every_defined_metric() -> None:
    assert names(printed(troubled())) == {definition.name for definition in DEFINITIONS}


# How often it takes a snapshot


class Site:
    """Counts the snapshots that are taken of it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.snapshots = 0

    def take_snapshot(self) -> Snapshot:
        self.snapshots += 1
        return quiet()

    def collector(self, max_age_seconds: float) -> SnapshotCollector:
        latest = LatestSnapshot(self.take_snapshot, max_age_seconds=max_age_seconds, clock=lambda: self.now)
        return SnapshotCollector(latest)


def scrape(collector: Collector) -> None:
    for _ in collector.collect():
        pass


def test_two_scrapes_within_the_maximum_age_take_one_snapshot() -> None:
    site = Site()
    collector = site.collector(10)
    scrape(collector)
    site.now += 9.9
    scrape(collector)
    assert site.snapshots == 1
    site.now += 0.1
    scrape(collector)
    assert site.snapshots == 2


def test_scrapes_at_the_same_time_wait_for_one_snapshot() -> None:
    began, go_on = threading.Event(), threading.Event()
    site = Site()

    def slow() -> Snapshot:
        began.set()
        assert go_on.wait(60)
        return site.take_snapshot()

    collector = SnapshotCollector(LatestSnapshot(slow, max_age_seconds=10))
    threads = [threading.Thread(target=scrape, args=(collector,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert began.wait(60)
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert site.snapshots == 1


def test_registering_it_takes_no_snapshot() -> None:
    site = Site()
    CollectorRegistry().register(site.collector(10))
    assert site.snapshots == 0
