"""What waits for a destination can be looked at, and be moved to another one; both ledgers close all the while."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dispatcher.cli import main
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import Event, encode
from dispatcher.outcomes import TRANSFERRED
from dispatcher.store.claim import Claim
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import Settlement
from dispatcher.store.waiting_batches import WaitingBatches
from tests.support.clock import Clock
from tests.support.open_store import OpenStore
from tests.support.redis_server import RedisServer

OLD, NEW = "segment_old", "segment"


def an_event(number: int, kind: str = "event") -> bytes:
    return encode(
        Event(
            id=f"id-{number}",
            name="shop.paid",
            type=kind,
            timestamp=datetime.now(UTC),
            data={"order": number},
            context={},
        )
    )


def put(store: OpenStore, *payloads: bytes, destination: str = OLD, start: int = 0) -> str:
    """Put a batch. Returns its name."""
    one = Put(
        destination=destination,
        journal="17-a",
        start=start,
        end=start + 8,
        packed=pack(payloads),
        count=len(payloads),
        example="shop.paid",
    )
    assert store.put([one]) == [None]
    return one.batch_id


@pytest.fixture
def batches(store: OpenStore, clock: Clock) -> Iterator[WaitingBatches]:
    yield WaitingBatches(store.pool, clock=clock)
    assert all(counts.closes for counts in store.counts([OLD, NEW]).values())


@pytest.fixture
def settings(tmp_path: Path, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings in which the old name is gone; the webhook is of another type."""
    file = tmp_path / "settings.toml"
    file.write_text(
        '[destinations.segment]\nevents = ["*"]\n'
        '[destinations.hook]\ntype = "webhook"\nurl = "https://example.org/hook"\nevents = ["*"]\n'
        '[destinations.off]\ntype = "segment"\nenabled = false\n'
    )
    monkeypatch.setenv("DISPATCHER_SETTINGS", str(file))
    monkeypatch.setenv("DISPATCHER_BROKER_URL", server.url)
    return file


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["waiting", *arguments], catch_exceptions=False)


def test_a_moved_batch_is_delivered_there_with_its_events_and_attempts(
    store: OpenStore, batches: WaitingBatches, clock: Clock
) -> None:
    name = put(store, an_event(1), an_event(2))
    claim = store.claim(OLD, name, token="t", lease_seconds=60)
    assert isinstance(claim, Claim)
    store.settle(
        claim, Settlement(left=claim.payloads, due_ms=int(clock() * 1000) + 500_000, burns_attempt=True, error="no")
    )
    clock.advance(5)

    assert batches.transfer(OLD, NEW, [name, "never-was"]) == (1, 2)
    assert batches.transfer(OLD, NEW, [name]) == (0, 0)

    old, new = store.counts([OLD, NEW]).values()
    assert (old.accepted, old.waiting, old.filtered_by_reason) == (2, 0, {TRANSFERRED: 2})
    assert (new.accepted, new.queued) == (2, 2)
    # A relay that asks finds nothing open there, and puts nothing again.
    assert store.progress([OLD], "17-a")[OLD].open == -1
    due = store.due(NEW, idle=False)
    assert due is not None
    moved = store.claim(NEW, due.batch_id, token="u", lease_seconds=60)
    assert isinstance(moved, Claim)
    assert [json.loads(payload)["id"] for payload in moved.payloads] == ["id-1", "id-2"]
    assert (moved.attempts, moved.put_ms) == (1, claim.put_ms)
    store.settle(moved, Settlement(delivered=2))


def test_the_name_of_a_moved_batch_is_that_of_no_other(store: OpenStore, batches: WaitingBatches) -> None:
    name = put(store, an_event(1))
    # The same range of the same journal had an event for the new one too.
    assert put(store, an_event(1), destination=NEW) == name

    batches.transfer(OLD, NEW, [name])

    assert len({batch.id for batch in batches.select(NEW)}) == 2
    # And back, and again: names do not grow without end.
    for _ in range(6):
        batches.transfer(NEW, OLD, [batch.id for batch in batches.select(NEW)])
        batches.transfer(OLD, NEW, [batch.id for batch in batches.select(OLD)])
    names = {batch.id for batch in batches.select(NEW)}
    assert len(names) == 2
    assert max(map(len, names)) < 60


def test_a_batch_under_way_stays_until_its_lease_has_run_out(
    store: OpenStore, batches: WaitingBatches, clock: Clock
) -> None:
    name = put(store, an_event(1))
    claim = store.claim(OLD, name, token="t", lease_seconds=60)
    assert isinstance(claim, Claim)

    assert batches.transfer(OLD, NEW, [name]) == (0, 0)
    clock.advance(61)
    assert batches.transfer(OLD, NEW, [name]) == (1, 1)

    # Its worker comes back too late: what it says is not recorded, and the other one knows that it may be a repeat.
    assert store.settle(claim, Settlement(delivered=1)) is None
    due = store.due(NEW, idle=False)
    assert due is not None
    moved = store.claim(NEW, due.batch_id, token="u", lease_seconds=60)
    assert isinstance(moved, Claim)
    assert moved.maybe_delivered
    store.settle(moved, Settlement(delivered=1))


def test_a_range_is_not_put_again_after_it_was_moved(store: OpenStore, batches: WaitingBatches) -> None:
    name = put(store, an_event(1))
    batches.transfer(OLD, NEW, [name])

    put(store, an_event(1))

    old, new = store.counts([OLD, NEW]).values()
    assert (old.waiting, new.waiting) == (0, 1)


def test_it_can_be_moved_in_a_full_redis(store: OpenStore, batches: WaitingBatches, server: RedisServer) -> None:
    names = [put(store, an_event(number), start=8 * number) for number in range(20)]
    server.call("CONFIG", "SET", "maxmemory", "1mb")
    try:
        assert batches.transfer(OLD, NEW, names) == (20, 20)
    finally:
        server.call("CONFIG", "SET", "maxmemory", "0")


def test_batches_are_listed_the_oldest_first(store: OpenStore, batches: WaitingBatches, clock: Clock) -> None:
    parked, queued = put(store, an_event(1)), put(store, an_event(2), an_event(3), start=8)
    claim = store.claim(OLD, parked, token="t", lease_seconds=60)
    assert isinstance(claim, Claim)
    store.settle(
        claim, Settlement(left=claim.payloads, due_ms=int(clock() * 1000) + 500_000, burns_attempt=True, error="503")
    )

    first, second = batches.select(OLD)

    now_ms = int(clock() * 1000)
    assert (first.id, first.state, first.count, first.attempts, first.error) == (parked, "parked", 1, 1, "503")
    assert (first.due_ms, first.example) == (now_ms + 500_000, "shop.paid")
    assert (second.id, second.state, second.count, second.due_ms) == (queued, "queued", 2, None)


@pytest.mark.usefixtures("settings")
def test_the_commands_lead_from_what_waits_to_where_it_is_delivered(store: OpenStore, batches: WaitingBatches) -> None:
    name = put(store, an_event(1), an_event(2))

    table = run("list").output
    assert OLD in table
    assert "nobody: not in the settings" in " ".join(table.split())
    (row,) = map(json.loads, run("list", "--json").output.splitlines())
    assert (row["destination"], row["events"], row["unserved"]) == (OLD, 2, "not in the settings")
    assert f"{name}  queued  2 events, such as shop.paid" in run("list", OLD).output
    assert [json.loads(line)["id"] for line in run("show", OLD, name).output.splitlines()] == ["id-1", "id-2"]
    assert "2 events would be moved" in run("move", OLD, NEW, "--dry-run").output
    assert "Aborted" in run("move", OLD, NEW).output  # nobody answers the question
    assert store.counts([OLD])[OLD].waiting == 2

    moved = run("move", OLD, NEW, "--yes")

    assert (moved.exit_code, "2 events moved from segment_old to segment" in moved.output) == (0, True)
    assert store.counts([NEW])[NEW].waiting == 2
    assert "no event waits" in run("list", OLD).output
    assert len(list(batches.select(NEW))) == 1


@pytest.mark.usefixtures("settings")
def test_direct_calls_stay_if_the_other_takes_none(store: OpenStore) -> None:
    put(store, an_event(1))
    put(store, an_event(2), an_event(3, "identify"), start=8)

    moved = run("move", OLD, "hook", "--yes")

    assert (moved.exit_code, "1 event moved" in moved.output, "2 events would stay" in moved.output) == (1, True, True)
    assert store.counts([OLD])[OLD].waiting == 2
    assert run("move", OLD, NEW, "--yes").exit_code == 0


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("move", "nothing", NEW), "unknown destination 'nothing'"),
        (("move", OLD, "nothing"), "no worker would serve 'nothing'"),
        (("move", OLD, "off"), "no worker would serve 'off'"),
        (("move", NEW, NEW), "OLD and NEW are the same"),
        (("list", "nothing"), "unknown destination 'nothing'"),
        (("show", OLD, "17-a-ff"), "see `dispatcher waiting list segment_old`"),
    ],
)
def test_what_cannot_be_done_is_said(store: OpenStore, arguments: tuple[str, ...], error: str) -> None:
    put(store, an_event(1))

    result = run(*arguments)

    assert result.exit_code != 0
    assert error in result.output


@pytest.mark.usefixtures("settings")
def test_a_worker_that_has_events_keeps_them(server: RedisServer) -> None:
    server.call("FLUSHALL")
    pool = RedisPool(server.url, timeout_seconds=30)
    store = OpenStore(pool, clock=time.time)
    claimed, _ = put(store, an_event(1)), put(store, an_event(2), start=8)
    assert isinstance(store.claim(OLD, claimed, token="t", lease_seconds=60), Claim)

    moved = run("move", OLD, NEW, "--yes")

    assert (moved.exit_code, "1 event moved" in moved.output, "a worker has them" in moved.output) == (1, True, True)
    pool.close()
