"""The short form of ``make fuzz``, and what it would say of a server that does wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random, SystemRandom
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from tests.fuzz.__main__ import main
from tests.fuzz.answers import Answer, parse_answers
from tests.fuzz.attack import Attack
from tests.fuzz.board_target import BoardTarget, open_board_target
from tests.fuzz.fuzzing import Fuzzer, all_strategies, make_attack
from tests.fuzz.json_text import dump, hostile
from tests.fuzz.judge import judge
from tests.fuzz.seeds import collector_seeds
from tests.fuzz.sender import Result, send
from tests.fuzz.target import open_collector
from tests.support.board import PERSONAL

STRATEGIES = all_strategies(collector_seeds())
SHORT_SECONDS = 2.0


def test_hostile_clients_break_nothing_and_take_no_good_event_along(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(1 << 32)
    with open_collector(tmp_path) as target:
        fuzzer = Fuzzer(target, seed=seed, max_growth_bytes=64 << 20)
        fuzzer.attack(SHORT_SECONDS)
        report = fuzzer.finish()
    assert report.findings == [], f"python -m tests.fuzz --seed {seed}"
    assert report.statuses[200] > 0
    assert report.statuses[400] > 0


def test_hostile_requests_break_no_board_and_are_shown_nothing(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(1 << 32)
    with open_board_target(tmp_path) as target:
        fuzzer = Fuzzer(target, seed=seed, max_growth_bytes=64 << 20)
        fuzzer.attack(SHORT_SECONDS)
        report = fuzzer.finish()
    assert report.findings == [], f"python -m tests.fuzz --target board --seed {seed}"
    assert report.statuses[200] > 0
    assert report.statuses[400] > 0
    assert report.statuses[401] > 0


def test_a_board_that_shows_what_it_must_not_is_found() -> None:
    target = object.__new__(BoardTarget)
    without = Attack(kind="", parts=(b"GET /api/ledger HTTP/1.1\r\n\r\n",), call=("GET", "/api/ledger"))
    shown = Answer(200, {}, PERSONAL.encode())
    assert len(list(target.leaks(without, Result(answers=[shown])))) == 2
    assert list(target.leaks(without, Result(answers=[Answer(401, {}, b"")]))) == []


@pytest.mark.parametrize("kind", list(STRATEGIES))
def test_a_seed_makes_the_same_attack_again(kind: str) -> None:
    first, second = (make_attack({kind: STRATEGIES[kind]}, 7, 3) for _ in range(2))
    assert first == second
    assert first.kind == kind
    assert first != make_attack({kind: STRATEGIES[kind]}, 7, 4)
    assert sum(map(len, first.parts)) > 0


def test_every_seed_is_taken_as_it_is() -> None:
    for seed in collector_seeds():
        head, _, body = seed.render(seed.body).partition(b"\r\n\r\n")
        if seed.form == "json" and seed.body is not None and seed.method == "POST":
            assert json.loads(body) == seed.body
            assert f"Content-Length: {len(body)}".encode() in head


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("data", "count", "rest"),
    [
        (ANSWER * 2, 2, b""),
        (ANSWER + ANSWER[:-1], 1, ANSWER[:-1]),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER, 1, b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n" + ANSWER, 2, b""),
        (b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\nwrong", 1, b""),
    ],
)
def test_answers_are_read_one_after_another(data: bytes, count: int, rest: bytes) -> None:
    answers, left = parse_answers(data, is_whole=True)
    assert (len(answers), left) == (count, rest)


@pytest.mark.parametrize(
    "data", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", b"HTTP/1.1 200 OK\r\na: b\r\n\r\nok"]
)
def test_what_is_no_http_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"header|status|length"):
        parse_answers(data, is_whole=True)


DESCRIPTION: dict[str, Any] = {
    "paths": {
        "/a": {
            "post": {
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"required": ["rejected"]}}}},
                    "500": {},
                }
            }
        }
    }
}


@pytest.mark.parametrize(
    ("status", "headers", "body", "story"),
    [
        (500, "", b"", "answered 500"),
        (503, "", b"", "without whole seconds in Retry-After"),
        (429, "retry-after: 0.5", b"", "without whole seconds in Retry-After"),
        (418, "", b"", "which its description does not have"),
        (200, "content-type: text/html", b"", "as text/html"),
        (200, "content-type: application/json", b"{}", "unlike its description"),
        (500, "", b"Traceback (most recent call last)", "stands in an answer"),
        (200, "x-injected: 1", b"", "written by the client"),
        (200, "content-type: application/json", b'{"rejected": [{"index": 0}]}', "a good event beside a bad one"),
        (200, "content-type: application/json", b'{"rejected": [{"index": 1}]}', ""),
    ],
)
def test_what_is_wrong_with_an_answer_is_found(status: int, headers: str, body: bytes, story: str) -> None:
    data = f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n{headers}\r\n\r\n".replace(
        "\r\n\r\n\r\n", "\r\n\r\n"
    )
    answers, _ = parse_answers(data.encode() + body, is_whole=True)
    harmed = ("a1", "b1") if b"index" in body else ()
    attack = Attack(kind="", parts=(b"",), answers=1, call=("POST", "/a"), unharmed=harmed)
    stories = list(judge(attack, Result(answers=answers), DESCRIPTION))
    assert any(story in found for found in stories) if story else stories == []


class _Wrong(BaseHTTPRequestHandler):
    """Answers 500, or nothing."""

    def do_GET(self) -> None:
        if self.path != "/silent":
            self.send_error(500)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def wrong_port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Wrong) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_what_a_server_answers_wrongly_or_not_at_all_is_found(wrong_port: int) -> None:
    def ask(path: bytes) -> list[str]:
        attack = Attack(kind="", parts=(b"GET %b HTTP/1.1\r\n\r\n" % path,), answers=1)
        return list(judge(attack, send(attack, wrong_port), {}))

    assert "answered 500" in ask(b"/")[0] or "status line" in ask(b"/")[0]
    assert "0 answers" in ask(b"/silent")[0]
    assert "no connection" in next(judge(Attack(kind="", parts=(b"",)), send(Attack(kind="", parts=(b"",)), 1), {}))


def test_the_command_says_what_is_missing() -> None:
    assert "needs the --seed" in CliRunner().invoke(main, ["--case", "5"]).output
    assert "--minutes" in CliRunner().invoke(main, ["--help"]).output


def test_hostile_values_are_of_many_sorts() -> None:
    chance = Random(1)
    values = b"".join(dump(hostile(chance)) for _ in range(400))
    for sort in (b"NaN", b"\\ud83d", b"9999999999999999999", b"[" * 60, b"1970-01-01", b"2099-12-31", b"x" * 10_000):
        assert sort in values, sort
