"""The JSON of ``dispatcher status``: complete, and as the reference says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dispatcher.cli.status import snapshot_json
from tests.support.snapshots import away, quiet, troubled

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "status.md"


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ("Top level", []),
        ("A destination", ["destinations", "segment"]),
        ("A destination", ["unserved", "google_analytics"]),
        ("breaker", ["destinations", "segment", "breaker"]),
        ("workers", ["destinations", "tracking_log", "workers", 0]),
        ("pause", ["unserved", "google_analytics", "pause"]),
        ("commands", ["destinations", "segment", "commands", 0]),
        ("rate", ["destinations", "segment", "rate"]),
        ("outbox", ["outbox"]),
        ("outboxes", ["outboxes", 0]),
        ("redis", ["redis"]),
        ("sources", ["sources", "web"]),
        ("refused_requests", ["refused_requests"]),
    ],
)
def test_the_reference_lists_exactly_the_keys(section: str, path: list[Any]) -> None:
    found: Any = snapshot_json(troubled())
    for step in path:
        found = found[step]
    text = REFERENCE.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(found)


@pytest.mark.parametrize("make", [quiet, troubled, away], ids=["quiet", "troubled", "away"])
def test_the_json_always_has_the_same_keys(make: Any) -> None:
    found = json.loads(json.dumps(snapshot_json(make())))

    assert set(found) == set(snapshot_json(troubled()))


def test_every_sum_can_be_checked_from_the_json() -> None:
    found = snapshot_json(troubled())

    for counts in (*found["destinations"].values(), *found["unserved"].values()):
        assert counts["waiting"] == counts["queued"] + counts["claimed"] + counts["parked"]
        assert counts["accepted"] == counts["delivered"] + counts["waiting"] + counts["dead"] + counts["filtered"]
    assert found["outbox"]["waiting"] == sum(outbox["waiting"] for outbox in found["outboxes"]) == found["in_outboxes"]
    assert found["closes"] is True


def test_a_rate_is_given_once_it_is_known() -> None:
    assert snapshot_json(quiet())["destinations"]["segment"]["per_second"] is None
    assert snapshot_json(quiet(), rates={"segment": 2.5})["destinations"]["segment"]["per_second"] == 2.5


def test_without_redis_the_json_has_the_outboxes_and_the_reason() -> None:
    found = snapshot_json(away())

    assert (found["destinations"], found["redis"], found["outbox"]["waiting"]) == ({}, None, 5)
    assert "Connection refused" in found["problem"]
