"""Deprecated calls as an operator sees them: counted in Redis, bounded, reported, and written of in a letter."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dispatcher.cli.main import main
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import Event, encode
from dispatcher.store import deprecated_calls
from tests.support.clock import Clock
from tests.support.collector import Collector
from tests.support.open_store import OpenStore
from tests.support.processes import Processes
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for

COURSE = "course-v1:org+course+run"


def event(name: str, script: str = "https://example.org/quiz.js", course: str = COURSE) -> bytes:
    context = {"course_id": course, "deprecated_call": {"via": "Logger.log", "script": script}}
    return encode(Event(id="1", name=name, timestamp=datetime.now(UTC), data={}, context=context))


def count(store: OpenStore, *payloads: bytes, journal: str = "7-a", at: int = 0) -> None:
    ends = [at + 8 * (place + 1) for place in range(len(payloads))]
    store.deprecated_calls.count(journal, at + 8 * len(payloads), deprecated_calls.find(payloads, ends))


def run(server: RedisServer, *arguments: str) -> Result:
    environ = {"DISPATCHER_STORE_URL": server.url, "DISPATCHER_BROKER_URL": server.url, "COLUMNS": "160"}
    return CliRunner().invoke(main, ["deprecations", *arguments], env=environ)


def test_a_range_that_is_counted_again_adds_what_is_new(store: OpenStore, clock: Clock) -> None:
    count(store, event("a"), event("b"))
    count(store, event("a"), event("b"), event("a"))
    count(store, event("a"), journal="7-b")
    clock.advance(7 * 86_400)
    count(store, event("a"), at=24)
    today = datetime.fromtimestamp(clock(), UTC).date()
    counted = store.deprecated_calls.read(2, today)
    assert sorted((one.event, one.count) for one in counted) == [("a", 1), ("a", 3), ("b", 1)]
    assert {one.week.weekday() for one in counted} == {0}
    assert sum(one.count for one in store.deprecated_calls.read(1, today)) == 1
    # In the data of an event the same words say nothing.
    store.deprecated_calls.count("7-c", 8, [(event("a").replace(b'"context"', b'"data2"'), 8)])
    assert store.deprecated_calls.read(2, today) == counted


def test_a_week_has_so_many_rows_and_counts_the_rest(store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deprecated_calls, "MAX_FIELDS", 3)
    count(store, *(event(f"event-{n}") for n in range(10)), event("event-0" + "x" * 1_000))
    count(store, *(event(f"event-{n}") for n in range(10)), at=88)
    fields = store.pool.execute_many([("HGETALL", key) for key in store.pool.scan("*deprecated_calls*", count=100)])
    assert len(fields) == 1
    values = dict(zip(fields[0][::2], fields[0][1::2], strict=True)) if isinstance(fields[0], list) else fields[0]
    assert sorted(int(value.split()[0]) for value in values.values()) == [2, 2, 2, 15]
    assert int(values[b""].split()[0]) == 15
    assert all(0 < store.pool.execute("TTL", key) <= 26 * 7 * 86_400 for key in store.pool.scan("*", count=100))


def test_the_report_and_the_letter_say_who_calls(server: RedisServer) -> None:
    server.call("FLUSHALL")
    empty = run(server, "report")
    assert (empty.exit_code, "warn+report" in empty.output) == (0, True)
    assert run(server, "letter", "--course", COURSE).exit_code == 1
    pool = RedisPool(server.url, timeout_seconds=30)
    store = OpenStore(pool)
    count(store, event("problem.solved"), event("problem.solved"), event("a\x1b[2J"), event("seen", course=""))
    shown = run(server, "report", "--course", COURSE)
    assert shown.exit_code == 0, shown.output
    assert "problem.solved" in shown.output
    assert "3 calls in the last 4 weeks, by 1 script, in 1 course" in shown.output
    assert "\x1b" not in shown.output
    answer = json.loads(run(server, "report", "--json").output)
    assert (answer["calls"], answer["left_out"], answer["callers"][0]["count"]) == (4, 0, 2)
    letter = run(server, "letter", "--course", COURSE, "--base", "https://events.example.org")
    assert letter.exit_code == 0, letter.output
    assert 'Logger.log("problem.solved"): 2 times' in letter.output
    assert "https://events.example.org/logger-help.html" in letter.output
    pool.close()


def test_a_call_in_a_page_is_in_the_report(server: RedisServer, tmp_path: Path) -> None:
    server.call("FLUSHALL")
    environ = {
        **os.environ,
        "DISPATCHER_STATE_DIRECTORY": str(tmp_path),
        "DISPATCHER_STORE_URL": server.url,
        "DISPATCHER_BROKER_URL": server.url,
        "DISPATCHER_SOURCES": '{"web": {"write_key": "k1"}}',
        "DISPATCHER_COLLECTOR__DUPLICATE_SECONDS": "0",
    }
    collector = Collector(Processes(tmp_path / "logs", environ), tmp_path)
    item = {"id": "1", "name": "seen", "page": f"https://example.org/courses/{COURSE}/", "via": "Logger.log"}
    items = [item | {"script": "https://example.org/quiz.js"}, item | {"id": "2", "via": None}]
    assert collector.ask("POST", "/v1/events", json.dumps({"key": "k1", "events": items}))[0] == 200

    def callers() -> list[dict[str, Any]]:
        return list(json.loads(run(server, "report", "--json").output)["callers"])

    wait_for(lambda: bool(callers()), what="the relay to count")
    (caller,) = callers()
    assert (caller["event"], caller["script"], caller["course"], caller["count"]) == (
        "seen",
        "https://example.org/quiz.js",
        COURSE,
        1,
    )
    assert collector.child.stop() == 0
