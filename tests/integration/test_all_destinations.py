"""Every destination at once, against stand-ins that enforce what their vendors document, with real workers."""

from __future__ import annotations

from pathlib import Path

from tests.vendors.market import STALLS
from tests.vendors.play import play


def test_each_destination_takes_good_events_and_gives_reasons_for_bad_ones(tmp_path: Path) -> None:
    found = play(tmp_path, events=300, workers=1, patience=60)
    assert {name: one.problems for name, one in found.items()} == {name: [] for name in found}
    assert {name: set(one.counts.dead_by_reason) for name, one in found.items()} == {
        name: {"invalid"} if STALLS[name].refuses else set() for name in found
    }
