"""The last hour, as the board has seen it."""

from __future__ import annotations

from dataclasses import replace

from dispatcher.board.history import History
from dispatcher.monitoring.snapshot import Snapshot
from dispatcher.store.counts import Counts
from tests.support.snapshots import NOW, NOW_MS, outbox, snapshot_of


def at(seconds: float, *, delivered: int = 0, name: str = "segment", problem: str = "") -> Snapshot:
    snapshot = snapshot_of({name: Counts(accepted=delivered + 3, delivered=delivered, queued=3)}, outbox())
    return replace(snapshot, at=NOW + seconds, problem=problem)


def test_a_sample_comes_every_15_seconds_with_the_rate_since_the_last() -> None:
    history = History()
    taken = [history.add(at(seconds, delivered=int(10 * seconds))) for seconds in (0, 0.25, 14, 15, 15.25, 30)]
    assert taken == [True, False, False, True, False, True]
    kept = history.json()
    assert kept["at_ms"] == [NOW_MS, NOW_MS + 15_000, NOW_MS + 30_000]
    assert kept["destinations"]["segment"] == {"per_second": [None, 10.0, 10.0], "waiting": [3, 3, 3]}


def test_more_than_an_hour_is_not_kept() -> None:
    history = History()
    for number in range(1_000):
        history.add(at(15 * number))
    at_ms = history.json()["at_ms"]
    assert at_ms[-1] - at_ms[0] == 3_600_000


def test_a_redis_that_is_away_leaves_a_gap_and_one_that_comes_back_empty_no_minus() -> None:
    history = History()
    assert history.add(at(0, delivered=500))
    assert not history.add(at(15, problem="away"))
    assert history.add(at(30, delivered=30))
    assert history.json()["destinations"]["segment"]["per_second"] == [None, 0.0]


def test_a_destination_that_comes_later_or_goes_is_unknown_in_between() -> None:
    history = History()
    for seconds, name in ((0, "segment"), (15, "webhook"), (30, "segment")):
        history.add(at(seconds, delivered=int(seconds), name=name))
    assert history.json()["destinations"]["segment"] == {"per_second": [None, None, None], "waiting": [3, None, 3]}


def test_a_clock_that_is_set_back_begins_anew() -> None:
    history = History()
    history.add(at(0))
    assert history.add(at(-7200))
    assert history.json()["at_ms"] == [NOW_MS - 7_200_000]
