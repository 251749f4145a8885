"""What a collector answers when it cannot keep what it is sent, and that it keeps what it acknowledged."""

from __future__ import annotations

import asyncio
import errno
import json
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.errors import OutboxError
from dispatcher.outbox import journal_files
from dispatcher.outbox.journal import parse
from tests.support.collector_app import Answer, CollectorApp

SOURCES: dict[str, Any] = {"server": {"write_key": "k2", "kind": "server", "event_bytes": 65_536}}
SMALL: dict[str, Any] = {"journal_bytes": 65_536, "max_bytes": 262_144, "max_event_bytes": 32_768}


def post(app: CollectorApp, event_id: str, size: int = 0) -> Answer:
    item = {"id": event_id, "name": "paid", "data": {"a": "x" * size}}
    return app.ask("POST", "/v1/events", json.dumps({"key": "k2", "events": [item]}))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[CollectorApp]:
    app = CollectorApp(tmp_path, SOURCES, outbox=SMALL)
    yield app
    app.close()


def assert_passing(answer: Answer) -> None:
    assert (answer.status, answer.json["code"]) == (503, "outbox")
    assert 1 <= int(answer.headers["retry-after"]) <= 10


def test_a_full_outbox_is_answered_503_and_keeps_what_was_acknowledged(small: CollectorApp) -> None:
    taken = []
    for number in range(100):
        answer = post(small, f"e-{number}", 10_000)
        if answer.status != 200:
            break
        taken.append(f"e-{number}")
    assert_passing(answer)
    assert small.app.counts.refused["outbox"] == 1
    assert len(taken) > 10
    assert [event["id"] for event in small.events()] == taken


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_a_full_disk_is_answered_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str) -> None:
    app = CollectorApp(tmp_path, SOURCES, {"durability": durability})
    assert post(app, "before").status == 200

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        target = "submit_decoded" if durability == "process" else "sync"
        patch.setattr(app.committer._tracker, target, fail)
        assert_passing(post(app, "meanwhile"))
    assert post(app, "after").status == 200
    kept = [event["id"] for event in app.events()]
    assert kept[0] == "before"
    assert kept[-1] == "after"
    app.close()


def test_with_disk_what_was_answered_is_in_what_was_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"durability": "disk", "commit_seconds": 0.02}
    # Nothing syncs but what an answer waits for.
    app = CollectorApp(tmp_path, SOURCES, table, outbox={"sync_seconds": 60})
    # What a loss of power would leave: the frames that a system call was told to sync.
    synced: set[str] = set()
    syncs = 0
    sync_pages = journal_files.sync_pages

    def note(pages: mmap.mmap, start: int, end: int, file: Path) -> None:
        nonlocal syncs
        syncs += 1
        before = {json.loads(payload)["id"] for payload in parse(pages[:end]).payloads}
        sync_pages(pages, start, end, file)
        synced.update(before)

    monkeypatch.setattr(journal_files, "sync_pages", note)

    async def send(number: int) -> None:
        await asyncio.sleep(number % 7 / 1_000)
        item = {"id": f"e-{number}", "name": "paid"}
        answer = await app.request("POST", "/v1/events", json.dumps({"key": "k2", "events": [item]}))
        assert answer.status == 200
        assert f"e-{number}" in synced

    async def send_all() -> None:
        await asyncio.gather(*map(send, range(60)))

    app._loop.run_until_complete(send_all())
    assert len(synced) == 60
    # One sync for many requests.
    assert 1 <= syncs < 30
    app.close()


def test_too_many_requests_are_answered_429_until_there_is_room(tmp_path: Path) -> None:
    app = CollectorApp(tmp_path, SOURCES, {"durability": "disk", "requests": 3, "commit_seconds": 0.05})

    async def send(number: int) -> Answer:
        item = {"id": f"e-{number}", "name": "paid"}
        return await app.request("POST", "/v1/events", json.dumps({"key": "k2", "events": [item]}))

    async def send_all() -> list[Answer]:
        return await asyncio.gather(*map(send, range(5)))

    answers = app._loop.run_until_complete(send_all())
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 429, 429]
    busy = [answer for answer in answers if answer.status == 429]
    assert {answer.json["code"] for answer in busy} == {"busy"}
    assert all(1 <= int(answer.headers["retry-after"]) <= 10 for answer in busy)
    assert post(app, "later").status == 200
    assert len(app.events()) == 4
    app.close()


def test_a_mistake_in_the_collector_is_answered_500_without_a_word_of_the_request(
    small: CollectorApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret@example.org")

    with monkeypatch.context() as patch:
        patch.setattr(small.committer._tracker, "submit_decoded", fail)
        answer = post(small, "a")
    assert (answer.status, answer.json["code"]) == (500, "failed")
    assert "secret" not in caplog.text + answer.body.decode()
    assert post(small, "b").status == 200


def test_an_outbox_error_of_one_request_is_not_the_next_ones(
    small: CollectorApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OutboxError("no")

    with monkeypatch.context() as patch:
        patch.setattr(small.committer._tracker, "submit_decoded", fail)
        assert_passing(post(small, "a"))
    assert [post(small, "b").status, post(small, "b").status] == [200, 200]
