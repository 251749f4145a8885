"""Dead letters stay within limits: packed, cut, moved to files, at last only counted; and the ledger closes."""

from __future__ import annotations

import gzip
import json
import random
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from dispatcher import config
from dispatcher.cli import main
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store import keys
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import Counts
from dispatcher.store.dead_letter import DeadLetter, DeadLetterFilter
from dispatcher.store.dead_letter_files import read
from dispatcher.store.dead_letters import DeadLetters
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.tasks.worker.filing import Filing
from tests.support.dead_letters import NAME, add_dead_letters, an_event, run_dead
from tests.support.redis_server import RedisServer
from tests.support.site import Site
from tests.support.waiting import wait_for

pytestmark = pytest.mark.every_server


@pytest.fixture
def pool(server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RedisPool]:
    server.call("FLUSHALL")
    monkeypatch.setenv("DISPATCHER_BROKER_URL", server.url)
    monkeypatch.setenv("DISPATCHER_STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY", "a-key")
    pool = RedisPool(server.url, timeout_seconds=30)
    yield pool
    counts = BatchStore(pool).counts([NAME])[NAME]
    assert counts.closes, counts
    assert sum(counts.dead_by_reason.values()) == counts.dead
    pool.close()


def noise(size: int, seed: int = 0) -> str:
    """Text that cannot be compressed."""
    return random.Random(seed).randbytes(size).hex()[:size]


def counts(pool: RedisPool) -> Counts:
    return BatchStore(pool).counts([NAME])[NAME]


def letters(pool: RedisPool) -> list[DeadLetter]:
    return list(DeadLetters(pool).select(NAME, DeadLetterFilter()))


def numbers(found: list[DeadLetter]) -> list[int]:
    return [letter.event.data["number"] for letter in found if letter.event]


def limit(monkeypatch: pytest.MonkeyPatch, **limits: object) -> Filing:
    for name, value in limits.items():
        monkeypatch.setenv(f"DISPATCHER_DESTINATIONS__SEGMENT__DEAD__{name.upper()}", str(value))
    return Filing(config.load(), every_seconds=0.001)


def test_large_dead_letters_are_compressed_and_come_back_unchanged(pool: RedisPool, server: RedisServer) -> None:
    payloads = [an_event(number, text=f"a rather long word, {number}; " * 16_000) for number in range(50)]
    add_dead_letters(BatchStore(pool), *payloads)
    assert sum(map(len, payloads)) > 15_000_000
    assert counts(pool).dead_bytes < 200_000
    assert int(server.call("MEMORY", "USAGE", keys.DEAD.of(NAME), "SAMPLES", "0")) < 400_000  # type: ignore[call-overload]
    assert [letter.payload for letter in letters(pool)] == payloads


def test_a_too_large_event_is_only_described_and_cannot_be_replayed(pool: RedisPool) -> None:
    add_dead_letters(BatchStore(pool), an_event(1, text=noise(900_000)))
    [letter] = letters(pool)
    assert not letter.can_be_replayed
    shown = json.loads(run_dead("show", NAME, letter.id).stdout)
    assert (shown["id"], shown["name"], shown["reason"]) == ("id-1", "shop.order.paid", "oversized")
    assert "too large to be kept whole" in shown["event"]["data"]["cut"]
    assert counts(pool).dead_bytes < 5_000


def test_the_oldest_dead_letters_go_to_a_file_that_only_its_owner_reads(
    pool: RedisPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filing = limit(monkeypatch, max_bytes=100_000)
    for number in range(30):
        add_dead_letters(BatchStore(pool), an_event(number, text=noise(10_000, number)), start=number * 8)
    before = letters(pool)
    filed = filing.file_overdue(pool)
    assert 10 < filed < 20
    found = counts(pool)
    assert (found.dead, found.dead_filed, found.dead_limit_bytes) == (30, filed, 100_000)
    assert found.dead_by_reason == {"oversized": 30 - filed, "filed": filed}
    assert found.dead_bytes <= 75_000
    [path] = (tmp_path / "dead").iterdir()
    assert path.name.startswith("segment-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [*read(path, NAME), *letters(pool)] == before
    assert filing.file_overdue(pool) == 0
    listed = run_dead("list", NAME)
    assert f": {filed} more" in listed.output
    assert str(tmp_path / "dead") in listed.output


def test_old_dead_letters_go_to_a_file(pool: RedisPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    filing = limit(monkeypatch, max_age_seconds=1000)
    now = datetime.now(UTC).timestamp()
    add_dead_letters(BatchStore(pool, clock=lambda: now - 1001), an_event(1))
    add_dead_letters(BatchStore(pool, clock=lambda: now - 900), an_event(2), start=8)
    assert counts(pool).dead_oldest_ms == int((now - 1001) * 1000)
    assert filing.file_overdue(pool) == 1
    assert numbers(letters(pool)) == [2]
    assert limit(monkeypatch, max_age_seconds="never").file_overdue(pool) == 0


def test_only_one_worker_at_a_time_files_dead_letters(pool: RedisPool) -> None:
    store = BatchStore(pool)
    add_dead_letters(store, an_event(1), an_event(2))

    def ask(going_on: bool = False) -> int:
        return len(DeadLetters(pool).overdue(NAME, max_bytes=1, max_age_seconds=0, every_seconds=60, going_on=going_on))

    assert (ask(), ask(), ask(going_on=True)) == (2, 0, 2)


def test_a_worker_killed_before_removing_filed_letters_leaves_two_files(
    pool: RedisPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filing = limit(monkeypatch, max_bytes=1)
    add_dead_letters(BatchStore(pool), an_event(1), an_event(2))
    with monkeypatch.context() as patched:
        patched.setattr(DeadLetters, "mark_filed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            filing.file_overdue(pool)
    assert (counts(pool).dead, counts(pool).dead_filed, numbers(letters(pool))) == (2, 0, [1, 2])
    wait_for(lambda: filing.file_overdue(pool) == 2)
    assert [numbers(list(read(path, NAME))) for path in (tmp_path / "dead").iterdir()] == [[1, 2], [1, 2]]


def test_dead_letters_stay_in_redis_if_no_file_can_be_written(
    pool: RedisPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filing = limit(monkeypatch, max_bytes=1)
    (tmp_path / "dead").write_text("in the way")
    add_dead_letters(BatchStore(pool), an_event(1))
    with pytest.raises(OSError, match="dead"):
        filing.file_overdue(pool)
    assert numbers(letters(pool)) == [1]


def test_without_filing_dead_letters_lose_their_events_then_are_only_counted(pool: RedisPool) -> None:
    store = BatchStore(pool)
    DeadLetters(pool).overdue(NAME, max_bytes=100_000, max_age_seconds=0, every_seconds=1)
    for number in range(60):
        add_dead_letters(
            store, *(an_event(10 * number + n, text=noise(10_000, n)) for n in range(10)), start=number * 8
        )
    found = counts(pool)
    assert found.dead == 600
    assert found.dead_bytes <= 300_000
    kept = letters(pool)
    whole = [letter for letter in kept if letter.can_be_replayed]
    assert found.dead_cut == len(kept) - len(whole) > 100
    assert numbers(whole) == list(range(len(whole)))
    assert {letter.event.name for letter in kept if letter.event} == {"shop.order.paid"}
    assert found.dead_unkept == 600 - len(kept) > 100
    assert "counted, but not kept" in run_dead("list", NAME).output


def test_oversized_events_of_twice_its_memory_do_not_fill_redis(redis_server: RedisServer) -> None:
    redis_server.call("CONFIG", "SET", "maxmemory", "12000000")
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    store = BatchStore(pool)
    DeadLetters(pool).overdue(NAME, max_bytes=2_000_000, max_age_seconds=0, every_seconds=1)
    for number in range(50):
        add_dead_letters(store, an_event(number, text=noise(480_000, number)), start=number * 8)
    assert counts(pool).dead == 50
    assert counts(pool).closes
    pool.close()


def test_filed_dead_letters_can_be_listed_shown_and_replayed_once(
    pool: RedisPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filing = limit(monkeypatch, max_bytes=1)
    monkeypatch.setenv("DISPATCHER_DESTINATIONS__SEGMENT__BATCH_EVENTS", "4")
    add_dead_letters(BatchStore(pool), *(an_event(number) for number in range(9)), an_event(9, text=noise(900_000)))
    add_dead_letters(BatchStore(pool), b"no event\n", start=8, reason="undecodable")
    assert filing.file_overdue(pool) == 11
    [path] = (tmp_path / "dead").iterdir()
    listed = [json.loads(line) for line in run_dead("list", NAME, "--file", str(path), "--json").stdout.splitlines()]
    assert [row["reason"] for row in listed] == ["oversized"] * 10 + ["undecodable"]
    assert (
        json.loads(run_dead("show", NAME, listed[3]["dead_letter"], "--file", str(path)).stdout)["event"]["id"]
        == "id-3"
    )
    assert "9 dead letters would be replayed" in run_dead("replay", NAME, "--file", str(path), "--dry-run").stdout
    assert "9 dead letters of" in run_dead("replay", NAME, "--file", str(path)).stdout
    assert "0 dead letters of" in run_dead("replay", NAME, "--file", str(path)).stdout
    found = counts(pool)
    assert (found.accepted, found.dead, found.dead_filed, found.queued, found.batches) == (11, 2, 2, 9, 3)
    assert BatchStore(pool).due(NAME, idle=False) is not None
    assert run_dead("drop", NAME, "--filed", "--yes").exit_code == 0
    assert (counts(pool).dead, counts(pool).filtered_by_reason) == (0, {"dropped": 2})


def test_a_file_is_known_by_its_bytes_and_by_what_was_asked_of_it_alone(
    pool: RedisPool, server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filing = limit(monkeypatch, max_bytes=1)
    add_dead_letters(BatchStore(pool), an_event(1), an_event(2))
    assert filing.file_overdue(pool) == 2
    [path] = (tmp_path / "dead").iterdir()
    run_dead("replay", NAME, "--file", str(path), "--reason", "oversized", "--since", "2026-01-31", "--id", "id-1")
    # Another release has to make the same of it: it would send all of the file again.
    asked = b'{"event_ids": ["id-1"], "reason": "oversized", "since": "2026-01-31 00:00:00+00:00"}\n'
    name = f"dead-{sha256(asked + path.read_bytes()).hexdigest()[:16]}"

    assert server.call("EXISTS", keys.JOURNAL.of(NAME, name)) == 1


def test_the_ledger_closes_after_a_replay_of_the_same_letter_from_two_files(pool: RedisPool) -> None:
    store = BatchStore(pool)
    add_dead_letters(store, an_event(1))
    DeadLetters(pool).mark_filed(NAME, [letter.id for letter in letters(pool)])
    for journal in ("dead-a", "dead-b"):
        put = Put(destination=NAME, journal=journal, start=0, end=1, packed=pack([an_event(1)]), count=1)
        assert store.restore(put) is None
        assert store.restore(put) is None
    assert (counts(pool).accepted, counts(pool).queued, counts(pool).dead) == (2, 2, 0)


def test_a_file_of_something_else_is_refused(pool: RedisPool, tmp_path: Path) -> None:
    for name, content in (
        ("a.gz", b"no gzip"),
        ("b.gz", gzip.compress(b"no JSON\n")),
        ("c.gz", gzip.compress(b"{}")[:-9]),
    ):
        (tmp_path / name).write_bytes(content)
        refused = CliRunner().invoke(main, ["dead", "list", NAME, "--file", str(tmp_path / name)])
        assert refused.exit_code != 0
        assert "cannot be read as a file of dead letters" in str(refused.output) + str(refused.exception)


def test_a_worker_files_surplus_dead_letters(site: Site) -> None:
    site.allow(["shop.order.*"], more="[destinations.segment.dead]\nmax_bytes = 1000\n")
    store = site.store
    add_dead_letters(store, *(an_event(number) for number in range(20)))
    site.worker()
    wait_for(lambda: site.counts(NAME).dead_filed > 10, what=lambda: site.counts(NAME))
    [path] = (site.directory / "state" / "dead").iterdir()
    assert len(list(read(path, NAME))) == site.counts(NAME).dead_filed
    site.assert_ledger_closes()
