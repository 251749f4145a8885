"""Who did what to a destination by a command, and when: kept beside its counters, and shown by ``status``."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dispatcher.cli import main
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.edx_log.render import renderer
from dispatcher.event import Event, encode
from dispatcher.store.batches import BatchStore
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import COUNTS
from dispatcher.store.operator_note import OperatorNote
from tests.support.dead_letters import NAME, add_dead_letters, an_event
from tests.support.redis_server import RedisServer

WHO = f"alice@{socket.gethostname()}"


@pytest.fixture
def pool(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RedisPool]:
    redis_server.call("FLUSHALL")
    monkeypatch.setenv("DISPATCHER_BROKER_URL", redis_server.url)
    monkeypatch.setenv("DISPATCHER_STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY", "a-key")
    monkeypatch.setenv("SUDO_USER", "alice")
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    yield pool
    pool.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def notes(pool: RedisPool, destination: str = NAME) -> tuple[OperatorNote, ...]:
    return BatchStore(pool).counts([destination])[destination].commands


def test_each_command_that_changes_something_leaves_who_did_it(pool: RedisPool, tmp_path: Path) -> None:
    add_dead_letters(BatchStore(pool), *(an_event(number) for number in range(3)))
    log = tmp_path / "log"
    one = Event(id="one", name="a", timestamp=datetime.now(UTC), data={}, context={})
    log.write_bytes(renderer("edx", ids=True)(encode(one)) + b"\n")
    for arguments in (
        ("dead", "replay", NAME, "--id", "id-0", "--dry-run"),
        ("dead", "replay", NAME, "--id", "id-0"),
        ("dead", "drop", NAME, "--user", "nobody@example.org", "--yes"),
        ("dead", "drop", NAME, "--id", "id-1", "--yes"),
        ("replay", "--from", str(log), "--to", NAME, "--all", "--dry-run"),
        ("replay", "--from", str(log), "--to", NAME, "--all", "--yes"),
        ("resume", NAME),
        ("pause", NAME, "--for", "1h", "--reason", "they move"),
        ("retry", NAME),
        ("resume", NAME),
        ("retry", NAME),
        ("waiting", "move", NAME, "tracking_log", "--dry-run"),
        ("waiting", "move", NAME, "tracking_log", "--yes"),
    ):
        run(*arguments)
    found = notes(pool)

    assert {note.who for note in found} == {WHO}
    assert [note.command.partition(": until")[0] for note in reversed(found)] == [
        "dead replay: 1 dead letter",
        "dead drop: 1 dead letter",
        "replay: 1 event",
        "pause",
        "resume",
        "retry: 0 batches",
        "waiting move: 2 events to tracking_log",
    ]
    assert [note.at_ms for note in found] == sorted((note.at_ms for note in found), reverse=True)
    assert abs(found[0].at_ms / 1000 - datetime.now(UTC).timestamp()) < 60


def test_status_shows_the_latest_and_its_json_ten(pool: RedisPool) -> None:
    for seconds in range(12):
        run("pause", NAME, "--for", f"{seconds + 60}s")
    run("resume", NAME)

    assert f"`dispatcher resume` by {WHO}" in run("status").output
    kept = json.loads(run("status", "--json").output)["destinations"][NAME]["commands"]
    assert [one["command"].partition(":")[0] for one in kept] == ["resume", *["pause"] * 9]
    assert notes(pool, NOT_TAKEN) == ()


@pytest.mark.parametrize("kept", ["", "no JSON", "{}", "[1]", '[{"at":"x"}]', '[{"when":1}]'])
def test_notes_of_another_version_harm_no_status(pool: RedisPool, kept: str) -> None:
    run("resume", NAME)
    pool.execute("HSET", COUNTS.of(NAME), "commands", kept)

    assert run("status").exit_code == 0
    assert notes(pool) == ()
    assert run("pause", NAME).exit_code == 0
    assert len(notes(pool)) == (kept in ("", "no JSON", "{}"))


def test_a_full_redis_keeps_no_command_from_what_it_does(pool: RedisPool, redis_server: RedisServer) -> None:
    redis_server.call("CONFIG", "SET", "maxmemory", "1")
    try:
        assert run("pause", NAME).exit_code == 0
        assert [note.command for note in notes(pool)] == ["pause: until it is resumed"]
    finally:
        redis_server.call("CONFIG", "SET", "maxmemory", "0")
