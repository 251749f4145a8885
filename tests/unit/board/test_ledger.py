"""What the board's page gets of a snapshot."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dispatcher import config
from dispatcher.board.ledger import ledger_json, state_of
from dispatcher.monitoring.snapshot import Snapshot
from dispatcher.store.counts import Breaker, Counts, Pause, RateLimit
from dispatcher.store.workers import ServingWorker
from tests.support.snapshots import NOW_MS, outbox, quiet, snapshot_of, troubled

WORKER = ServingWorker(name="celery@one", pid=17, version="0.1", settings_ms=NOW_MS - 60_000, seen_ms=NOW_MS)


@pytest.fixture
def settings(tmp_path: Path) -> config.Settings:
    return config.load({"DISPATCHER_STATE_DIRECTORY": str(tmp_path)})


def page_of(snapshot: Snapshot, settings: config.Settings, **rates: float) -> dict[str, Any]:
    return dict(json.loads(json.dumps(ledger_json(snapshot, rates, settings))))


def test_every_destination_has_its_sum(settings: config.Settings) -> None:
    page = page_of(quiet(), settings, segment=2.5)
    assert page["at_ms"] == NOW_MS
    assert page["closes"]
    log, segment = page["destinations"]
    assert (log["name"], log["accepted"], log["delivered"], log["per_second"]) == ("tracking_log", 17, 17, None)
    assert (segment["accepted"], segment["delivered"], segment["filtered"]) == (17, 12, 5)
    assert (segment["filtered_by_reason"], segment["per_second"]) == ([["not_allowed", 5]], 2.5)
    assert segment["type"] == "segment"


def test_trouble_is_told_in_full(settings: config.Settings) -> None:
    snapshot = troubled()
    page = page_of(snapshot, settings)
    assert {one["name"] for one in page["destinations"]} >= set(snapshot.unserved)
    for one in page["destinations"]:
        counts = snapshot.destinations[one["name"]]
        assert one["accepted"] == one["delivered"] + one["waiting"] + one["dead"] + one["filtered"]
        assert one["waiting"] == counts.waiting
        assert one["is_served"] == (one["name"] not in snapshot.unserved)
        assert one["breaker"]["state"] == counts.breaker.state
    assert page["outbox"]["waiting"] == snapshot.ledger.in_outboxes


def test_texts_of_others_are_on_one_line_without_control_characters(settings: config.Settings) -> None:
    counts = Counts(
        accepted=1, queued=1, last_error="a\nb\x1b[31m", last_error_ms=NOW_MS, pause=Pause(since_ms=1, reason="x\ny")
    )
    page = page_of(snapshot_of({"segment": counts}, outbox(problem="p\x07q")), settings)
    one, listed = page["destinations"][0], page["outbox"]["listed"][0]
    texts = [one["last_error"], one["pause"]["reason"], listed["problem"], page["outbox"]["problem"]]
    assert [text[0] for text in texts] == ["a", "x", "p", "t"]
    assert all(text.isprintable() for text in texts)


def test_a_worker_with_older_settings_is_marked(settings: config.Settings) -> None:
    snapshot = snapshot_of({"segment": Counts(workers=(WORKER,))}, outbox())
    for changed_ms, is_old in ((NOW_MS - 61_000, False), (NOW_MS - 59_000, True)):
        page = page_of(replace(snapshot, settings_changed_ms=changed_ms), settings)
        assert [worker["is_old"] for worker in page["destinations"][0]["workers"]] == [is_old]


def test_a_machine_with_many_outboxes_lists_the_fullest(settings: config.Settings) -> None:
    outboxes = [outbox(name=f"{number}-a", waiting=number) for number in range(100)]
    page = page_of(snapshot_of({"segment": Counts()}, *outboxes), settings)
    assert page["outbox"]["number"] == 100
    assert [one["waiting"] for one in page["outbox"]["listed"]] == list(range(99, 79, -1))


@pytest.mark.parametrize(
    ("counts", "is_served", "state"),
    [
        (Counts(workers=(WORKER,)), True, ("nothing yet", "quiet")),
        (Counts(accepted=1, delivered=1, workers=(WORKER,)), True, ("all delivered", "good")),
        (Counts(accepted=2, delivered=1, dead=1, workers=(WORKER,)), True, ("up to date", "good")),
        (Counts(accepted=1, queued=1, workers=(WORKER,)), True, ("delivering", "good")),
        (Counts(accepted=1, posted=1, workers=(WORKER,)), True, ("waits for pages", "good")),
        (Counts(accepted=2, posted=1, queued=1, workers=(WORKER,)), True, ("delivering", "good")),
        (Counts(accepted=1, parked=1, workers=(WORKER,)), True, ("retrying", "warn")),
        (Counts(accepted=1, queued=1, workers=()), True, ("no worker", "bad")),
        (Counts(workers=()), True, ("no worker", "warn")),
        (Counts(accepted=1, parked=1, breaker=Breaker(state="open")), True, ("breaker open", "bad")),
        (Counts(accepted=1, parked=1, breaker=Breaker(state="half-open")), True, ("trying again", "warn")),
        (Counts(pause=Pause(since_ms=1), breaker=Breaker(state="open")), True, ("paused", "warn")),
        (Counts(rate=RateLimit(per_second=9, current_per_second=3)), True, ("slowed down", "warn")),
        (Counts(accepted=1, queued=1), False, ("nobody delivers", "bad")),
        (Counts(accepted=1, dead=1), False, ("nobody delivers", "quiet")),
        (Counts(accepted=2, delivered=1, pause=Pause(since_ms=1)), True, ("sum is wrong", "bad")),
    ],
)
def test_a_state_is_what_matters_most(counts: Counts, is_served: bool, state: tuple[str, str]) -> None:
    assert state_of("segment", counts, is_served=is_served) == state
