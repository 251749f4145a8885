"""The report by day and name has each event once at each destination, and its sums are the ledger's."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime

import pytest

from tests.support.site import Site
from tests.support.waiting import PATIENCE, wait_for

EMIT = """
for n in range(30):
    tracker.emit("shop.order.paid", {"n": n})
for n in range(20):
    tracker.emit("exam.taken", {"n": n})
tracker.emit("shop.order.large", {"text": "x" * 40_000})
segment.identify("7", {"plan": "free"})
dispatcher.flush(timeout=60)
"""
COLUMNS = ("accepted", "delivered", "filtered", "dead")


def report(site: Site, *arguments: str) -> str:
    child = site.processes.dispatcher("report", *arguments)
    assert child.wait(PATIENCE) == 0, child.output
    return child.output


def rows(site: Site, *arguments: str) -> dict[tuple[str, str], tuple[int, ...]]:
    found = [json.loads(line) for line in report(site, *arguments, "--json").splitlines()]
    assert all(row["open"] == row["posted"] == 0 for row in found), found
    return {(row.get("name", ""), row["destination"]): tuple(row[column] for column in COLUMNS) for row in found}


def ledger(site: Site, name: str) -> tuple[int, ...]:
    counts = site.counts(name)
    return counts.accepted, counts.delivered, counts.filtered, counts.dead


@pytest.fixture
def delivered(site: Site) -> Site:
    """A site whose worker is done with all events, one of them dead at Segment."""
    worker = site.worker()
    site.emitting(EMIT).succeed(PATIENCE)
    site.wait_until_delivered()
    assert worker.stop() == 0
    return site


def test_the_sums_of_the_report_are_the_ledgers(delivered: Site) -> None:
    found = rows(delivered, "--by", "day,name")
    assert found == {
        ("shop.order.paid", "segment"): (30, 30, 0, 0),
        ("shop.order.paid", "tracking_log"): (30, 30, 0, 0),
        ("exam.taken", "segment"): (20, 0, 20, 0),
        ("exam.taken", "tracking_log"): (20, 20, 0, 0),
        ("shop.order.large", "segment"): (1, 0, 0, 1),
        ("shop.order.large", "tracking_log"): (1, 1, 0, 0),
        ("", "segment"): (1, 1, 0, 0),
    }
    # Segment's own call is in no log; the ledger counts it at the tracking log as filtered.
    assert tuple(map(sum, zip(*(row for (_, name), row in found.items() if name == "segment"), strict=True))) == (
        ledger(delivered, "segment")
    )
    in_log = tuple(map(sum, zip(*(row for (_, name), row in found.items() if name == "tracking_log"), strict=True)))
    accepted, done, filtered, dead = ledger(delivered, "tracking_log")
    assert in_log == (accepted - 1, done, filtered - 1, dead)
    by_day = rows(delivered, "--by", "day")
    assert by_day["", "segment"] == ledger(delivered, "segment")
    table = report(delivered)
    assert f"{datetime.now(UTC):%Y-%m-%d}" in table
    assert "in no log here" in table
    (sums,) = (line.split() for line in table.splitlines() if line.split()[:2] == ["sum", "segment"])
    (kept,) = (line.split() for line in table.splitlines() if line.split()[:2] == ["ledger", "segment"])
    assert sums[2:] == kept[2:] == ["52", "31", "20", "1", "0", "0"]
    lines = list(csv.DictReader(report(delivered, "--by", "name", "--csv").splitlines()))
    assert {"name": "exam.taken", "destination": "segment"}.items() <= lines[0 if lines[0]["name"] else 1].items()
    assert rows(delivered, "--until", "2000-01-01") == {}


def test_an_event_that_died_again_after_a_replay_counts_once(delivered: Site) -> None:
    delivered.worker()
    delivered.processes.dispatcher("dead", "replay", "segment").succeed()
    wait_for(lambda: delivered.counts("segment").retried >= 0 and delivered.counts("segment").dead == 1, PATIENCE)
    delivered.wait_until_delivered()
    assert rows(delivered, "--by", "name")["shop.order.large", "segment"] == (1, 0, 0, 1)
    assert ledger(delivered, "segment") == rows(delivered, "--by", "day")["", "segment"]


def test_wrong_columns_are_refused(site: Site) -> None:
    assert site.processes.dispatcher("report", "--by", "user").wait(PATIENCE) == 2
