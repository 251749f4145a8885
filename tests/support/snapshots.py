"""Snapshots made by hand: of a quiet site, of one in trouble, and of one whose Redis is down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dispatcher.monitoring.intake import Intake
from dispatcher.monitoring.ledger import Ledger
from dispatcher.monitoring.snapshot import Memory, Snapshot
from dispatcher.outbox.stats import OutboxSurvey
from dispatcher.store.counts import NOT_TAKEN, Breaker, Counts, Pause, RateLimit
from dispatcher.store.event_ids import IdMemory
from dispatcher.store.operator_note import OperatorNote
from dispatcher.store.workers import ServingWorker

#: When every snapshot was taken.
NOW = 1_795_442_400.0
NOW_MS = int(NOW * 1000)
LIMIT = 2 << 30


def outbox(**values: Any) -> OutboxSurvey:
    """An empty outbox of a living process, except for ``values``."""
    defaults = {
        "name": "4711-19ab3f",
        "pid": 4711,
        "alive": True,
        "waiting": 0,
        "bytes": 0,
        "disk_bytes": 8_388_608,
        "refused": 0,
    }
    return OutboxSurvey(**{**defaults, **values})


def quiet() -> Snapshot:
    """Everything is delivered."""
    log = Counts(accepted=17, delivered=17, last_delivered_ms=NOW_MS - 9_000)
    segment = Counts(accepted=17, delivered=12, filtered=5, filtered_by_reason={"not_allowed": 5})
    return snapshot_of({"tracking_log": log, "segment": segment}, outbox())


def troubled() -> Snapshot:
    """Segment is down, there are dead letters, a destination was removed, and outboxes hold events."""
    worker = ServingWorker(name="celery@one", pid=17, version="0.1", settings_ms=NOW_MS - 7_200_000, seen_ms=NOW_MS)
    log = Counts(
        workers=(worker,),
        since_ms=NOW_MS - 86_400_000,
        accepted=12_345_678,
        delivered=12_345_000,
        queued=400,
        claimed=278,
        batches=3,
        oldest_ms=NOW_MS - 3_000,
        last_delivered_ms=NOW_MS - 400,
    )
    segment = Counts(
        accepted=12_345_678,
        delivered=2_300_000,
        claimed=100,
        parked=45_478,
        dead=12,
        filtered=10_000_088,
        retried=80_000,
        batches=456,
        oldest_ms=NOW_MS - 245_000,
        due_ms=NOW_MS - 4_000,
        last_delivered_ms=NOW_MS - 200_000,
        last_error="Segment at https://api.segment.io answered 503 Service Unavailable, and said nothing more about it",
        last_error_ms=NOW_MS - 3_000,
        dead_by_reason={"oversized": 10, "invalid": 2, "replayed": 0},
        filtered_by_reason={"not_allowed": 10_000_000, "internal": 88},
        commands=(OperatorNote(at_ms=NOW_MS - 60_000, who="alice@worker-1", command="retry: 456 batches"),),
        breaker=Breaker(
            state="open",
            cause="transient",
            error="503",
            opened_ms=NOW_MS - 185_000,
            until_ms=NOW_MS + 12_000,
            failures=9,
            opened=2,
        ),
        dead_bytes=12_000,
        dead_limit_bytes=67_108_864,
        rate=RateLimit(per_second=40, current_per_second=2.5, error="answered 429 Too Many Requests"),
    )
    emit = Counts(accepted=3, dead=3, dead_by_reason={"not_encodable": 3})
    gone = Counts(
        accepted=500,
        delivered=300,
        parked=200,
        oldest_ms=NOW_MS - 90_000_000,
        due_ms=NOW_MS - 80_000_000,
        pause=Pause(since_ms=NOW_MS - 60_000),
    )
    found = snapshot_of(
        {"tracking_log": log, "segment": segment, NOT_TAKEN: emit},
        outbox(waiting=1_234, bytes=1_234_000, oldest_ms=NOW_MS - 40_000),
        outbox(
            name="4712-19ab40", pid=4712, alive=False, waiting=12, bytes=12_000, refused=2, oldest_ms=NOW_MS - 4_000
        ),
        outbox(name="4713-19ab41", pid=4713),
    )
    return replace(
        found,
        unserved={"google_analytics": gone},
        batches={**found.batches, "google_analytics": {"queued": 0, "claimed": 0, "parked": 2}},
        memory=Memory(830_000_000, 1_000_000_000),
        ids=IdMemory(1_000_000, forgotten_early=250_000),
        intake=intake(),
        sources=("web", "app"),
        duplicates={"web": 17},
    )


def intake() -> Intake:
    """What collectors counted: pages send with a key of before, one source was never seen, and one is gone."""
    found = Intake()
    found.accepted.update({"web": 12_345, "old": 7})
    found.last_seen.update({"web": NOW - 3, "old": NOW - 864_000})
    found.reject("web", "bad_id", 2)
    found.drop("web", "full", 4)
    found.see_client("web", "0.1.0")
    found.client_last_seen["web", "0.1.0"] = NOW - 3
    for _ in range(3):
        found.refuse("foreign_origin")
        found.attribute_refusal("foreign_origin", "web", "https://user:secret@shop.example.com/path", NOW)
    for number in range(413):
        found.refuse("unknown_key")
        found.attribute_refusal("unknown_key", "", "https://old.example.org", NOW - number)
    return found


def away() -> Snapshot:
    """Redis does not answer."""
    return replace(
        snapshot_of({}, outbox(waiting=5, bytes=5_000, oldest_ms=NOW_MS - 60_000)),
        memory=None,
        problem="Redis at redis://redis:6379/0 does not answer: Error 111 connecting to redis:6379. Connection refused",
    )


def snapshot_of(destinations: dict[str, Counts], *outboxes: OutboxSurvey) -> Snapshot:
    """A snapshot with these destinations and outboxes."""
    names = [name for name in destinations if name != NOT_TAKEN]
    return Snapshot(
        at=NOW,
        ledger=Ledger(destinations, outboxes),
        outbox_limit_bytes=LIMIT,
        batches={name: {"queued": 1, "claimed": 2, "parked": 3} for name in names},
        doorbells=dict.fromkeys(names, 4),
        memory=Memory(1_400_000, None),
    )
