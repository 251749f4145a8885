"""The collector as a process of its own: what it answers, what it refuses, and what survives kill -9."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.collector.client import files
from tests.support.collector import Collector
from tests.support.processes import Processes
from tests.support.waiting import PATIENCE, wait_for

SOURCES = {
    "web": {"write_key": ["k1", "k1-new"], "origins": ["https://*.example.org"], "names": ["Click*"], "ip": "truncate"},
    "server": {"write_key": "k2", "kind": "server"},
}


def track(name: str, event_id: str) -> dict[str, str]:
    return {"type": "track", "event": name, "messageId": event_id, "userId": "7"}


def environ_of(state: Path) -> dict[str, str]:
    return {
        **os.environ,
        "DISPATCHER_STATE_DIRECTORY": str(state),
        "DISPATCHER_SOURCES": json.dumps(SOURCES),
        "DISPATCHER_RELAY__MODE": "external",
        "DISPATCHER_COLLECTOR__HEADER_SECONDS": "0.3",
        "DISPATCHER_COLLECTOR__BODY_SECONDS": "0.3",
        "DISPATCHER_COLLECTOR__KEEP_ALIVE_SECONDS": "1",
        "DISPATCHER_COLLECTOR__LOGGER_STAGE": "error",
        "DISPATCHER_COLLECTOR__PROXIES": '["127.0.0.0/8"]',
    }


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    state = tmp_path_factory.mktemp("collector")
    processes = Processes(state / "logs", environ_of(state))
    running = Collector(processes, state)
    yield running
    assert running.child.stop() == 0, running.child.output
    assert "Traceback" not in running.child.output


def test_a_batch_is_in_the_outbox_with_its_ids(collector: Collector) -> None:
    headers = {"Origin": "https://www.example.org", "X-Forwarded-For": "6.6.6.6, 192.0.2.77", "User-Agent": "browser"}
    items = [track("Clicked", "id-1"), track("Other", "id-2"), 5, track("Clicked", "x" * 10_000)]
    status, answer = collector.send("k1", *items, **headers)
    assert (status, answer["accepted"]) == (200, 1)
    assert sorted((item["index"], item["code"]) for item in answer["rejected"]) == [
        (1, "name_not_listed"),
        (2, "not_an_object"),
        (3, "bad_id"),
    ]
    (event,) = [event for event in collector.events() if event["id"] == "id-1"]
    assert event["context"]["ip"] == "192.0.2.0"
    assert event["context"]["agent"] == "browser"


def test_the_browsers_client_is_served_and_heard(collector: Collector) -> None:
    status, headers, script = collector.ask("GET", "/tracker.js")
    assert (status, headers["content-length"]) == (200, str(len(script)))
    assert collector.ask("GET", "/tracker.js", If_None_Match=headers["etag"])[0] == 304
    status, headers, script = collector.ask("GET", "/logger.js")
    assert (status, script.split(b"\n")[0]) == (
        200,
        b'window.dispatcherLogger={"stage": "error", "help": "logger-help.html"};',
    )
    assert headers["etag"].strip('"') not in {file.digest for file in files.served_files().values()}
    status, headers, page = collector.ask("GET", "/logger-help.html")
    assert (status, headers["content-type"], b"Tracker.on" in page) == (200, "text/html; charset=utf-8", True)
    items = [
        {"id": "e-1", "name": "book.read", "timestamp": "2020-01-01T00:00:00Z", "data": [1], "via": "Logger.log"},
        {"id": "t-1", "type": "track", "name": "Book Read", "data": {"a": 1}, "anonymousId": "anon"},
        {"id": "x" * 101, "name": "book.read"},
    ]
    body = json.dumps({"key": "k2", "sentAt": "2020-01-01T00:01:00Z", "events": items})
    status, _, answer = collector.ask("POST", "/v1/events", body, Content_Type="text/plain")
    assert (status, json.loads(answer)["accepted"], json.loads(answer)["rejected"][0]["index"]) == (200, 2, 2)
    events = {event["id"]: event for event in collector.events()}
    assert events["e-1"]["context"]["event_source"] == "browser"
    assert events["e-1"]["timestamp"] > "2026"
    assert events["t-1"]["name"] == "Book Read"
    assert events["t-1"]["data"]["anonymousId"] == "anon"
    assert events["t-1"]["data"]["properties"] == {"a": 1}


def test_sizes_and_numbers_of_events_are_bounded(collector: Collector) -> None:
    large = {**track("Clicked", "large"), "properties": {"a": "x" * 40_000}}
    status, answer = collector.send("k2", large, track("Clicked", "small"))
    assert (status, answer["accepted"], answer["rejected"][0]["code"]) == (200, 1, "too_large")
    deep: dict[str, Any] = {}
    for _ in range(64):
        deep = {"a": deep}
    status, answer = collector.send("k2", {**track("Clicked", "deep"), "properties": deep}, track("Clicked", "flat"))
    assert (status, answer["accepted"], answer["rejected"][0]["code"]) == (200, 1, "too_deep")
    status, answer = collector.send("k2", *[track("Clicked", "many")] * 2501)
    assert (status, answer["code"]) == (413, "too_many")


def test_one_odd_value_spoils_no_other_event(collector: Collector) -> None:
    items = ['"a": NaN', '"a": "half \\ud83d"', '"a": "\xff"', f'"a": {"9" * 5000}', '"a": "\x00"', '"a": 1']
    batch = ",".join(
        f'{{"type": "track", "event": "Odd", "messageId": "odd-{number}", "properties": {{{item}}}}}'
        for number, item in enumerate(items)
    )
    body = f'{{"writeKey": "k2", "batch": [{batch}]}}'.encode("latin-1")
    status, _, answer = collector.ask("POST", "/v1/batch", body)
    assert (status, json.loads(answer)["accepted"]) == (200, 4)
    assert [(item["index"], item["messageId"]) for item in json.loads(answer)["rejected"]] == [
        (0, "odd-0"),
        (3, "odd-3"),
    ]
    values = {e["id"]: e["data"]["properties"]["a"] for e in collector.events() if e["id"].startswith("odd-")}
    assert values == {"odd-1": "half \ufffd", "odd-2": "\ufffd", "odd-4": "\x00", "odd-5": 1}


def test_cors_lets_listed_pages_send_cookies(collector: Collector) -> None:
    asked = {"Origin": "https://a.example.org", "Access-Control-Request-Headers": "x-retry-count"}
    status, headers, body = collector.ask("OPTIONS", "/v1/batch", **asked)
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == "https://a.example.org"
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["access-control-allow-headers"] == "x-retry-count"
    _, headers, _ = collector.ask("OPTIONS", "/v1/batch", Origin="https://example.com")
    assert "access-control-allow-credentials" not in headers


DEEP = '{"writeKey": "k2", "batch": ' + "[" * 10_000 + "]" * 10_000 + "}"


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        ("not json", {}, 400, "not_json"),
        ("5", {}, 400, "not_an_object"),
        ("{}", {}, 400, "no_batch"),
        (DEEP, {}, 400, "too_deep"),
        ('{"writeKey": "revoked", "batch": []}', {}, 401, "unknown_key"),
        ('{"writeKey": "k1", "batch": []}', {"Origin": "https://example.org.evil.test"}, 403, "foreign_origin"),
        (b"1" * 600_000, {}, 413, "too_large"),
        (gzip.compress(bytes(10_000_000), mtime=0), {"Content-Encoding": "gzip"}, 413, "bomb"),
        (gzip.compress(b"{}", mtime=0)[:-9], {"Content-Encoding": "gzip"}, 400, "damaged_body"),
        (b"{}", {"Content-Encoding": "br"}, 415, "unknown_encoding"),
    ],
)
def test_bad_input_has_an_answer_and_a_reason(
    collector: Collector, body: bytes | str, headers: dict[str, str], status: int, code: str
) -> None:
    got, _, answer = collector.ask("POST", "/v1/batch", body, **headers)
    assert (got, json.loads(answer)["code"]) == (status, code)
    assert f'refused_total{{reason="{code}"}}' in collector.metrics()


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\x16\x03\x01\x02\x00", b"HTTP/1.1 400"),
        (b"POST /v1/batch HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000, b"HTTP/1.1 431"),
        (b"GET /healthz HTTP/1.1\r\nA: a", b""),
        (b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{", b""),
        (b"GET /healthz HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\nConnection: close\r\n\r\n", b"HTTP/1.1 200"),
    ],
)
def test_raw_bytes_never_harm(collector: Collector, data: bytes, answer: bytes) -> None:
    got = collector.raw(data)
    assert got.startswith(answer)
    assert b"HTTP/1.1 5" not in got
    assert collector.ask("GET", "/readyz")[0] == 200


def test_requests_sent_ahead_are_answered_in_order_up_to_a_bound(collector: Collector) -> None:
    request = b"GET /tracker.js HTTP/1.1\r\nHost: a\r\nA: %b\r\n\r\n" % (b"a" * 1_000)
    with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as connection:
        connection.sendall(request * 100 + b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert answers.count(b"HTTP/1.1 200 OK") == 101
    assert answers.endswith(b"ok\n")
    with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as connection:
        is_open = send_until_cut_off(connection, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 1_000, 100)
    assert not is_open
    assert collector.count('refused_total{reason="pipelined"}') == 1


def send_until_cut_off(connection: socket.socket, data: bytes, times: int) -> bool:
    """Send the data so often without reading. Returns whether the connection is still open."""
    with contextlib.suppress(OSError):
        for _ in range(times):
            connection.sendall(data)
        return True
    return False


def test_a_client_that_reads_nothing_is_cut_off(collector: Collector) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", collector.port))
        request = b"GET /tracker.js HTTP/1.1\r\nHost: a\r\nA: %b\r\n\r\n" % (b"a" * 8_000)
        send_until_cut_off(connection, request, 1_000)
        wait_for(lambda: collector.count('refused_total{reason="slow_reader"}') == 1, what="it to be counted")


@pytest.mark.parametrize("rest", [b"", b"1\r\na\r\n", b"10000\r\n" + b"a" * 65_536 + b"\r\n"])
def test_the_rest_of_a_refused_body_holds_no_connection(collector: Collector, rest: bytes) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as connection:
        connection.sendall(b"POST /v1/batch HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = b""
        with contextlib.suppress(OSError):  # reset
            for _ in range(10):
                connection.sendall(b"10000\r\n" + b"a" * 65_536 + b"\r\n")
            answer = connection.recv(1_000)
            while True:
                connection.sendall(rest or b"0\r\n\r\n")
                rest = rest or b" "
                if not connection.recv(1_000):
                    break
        assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"GET /healthz HTTP/1.1\r\nA: a", b"408"), (b"POST /v1/batch HTTP/1.1\r\nContent-Length: 9\r\n\r\n{", b"408")],
)
def test_a_slow_client_is_answered_408(collector: Collector, data: bytes, code: bytes) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as connection:
        connection.sendall(data)
        assert connection.recv(100).split()[1] == code


def test_requests_of_one_connection_are_answered_in_order_however_they_are_cut(collector: Collector) -> None:
    def post(
        path: str, event_id: str, *lines: str, end: str = "\r\n0\r\nX-Forwarded-For: 6.6.6.6\r\nX: y\r\n\r\n"
    ) -> bytes:
        body = json.dumps({"writeKey": "k2", "batch": [{**track("Cut", event_id), "context": {"direct": True}}]})
        framing = "Transfer-Encoding: chunked" if "chunked" in lines else f"Content-Length: {len(body)}"
        head = "\r\n".join(
            [f"POST {path} HTTP/1.1", "Host: x", framing, *[line for line in lines if ":" in line], "", ""]
        )
        return (head + (f"{len(body):x}\r\n{body}{end}" if "chunked" in lines else body)).encode()

    stream = post("/v1/batch", "cut-1", "chunked") + post("/v1/batch?x=1", "cut-2") + post("/v1/batch", "cut-3")
    stream += post("/v1/batch", "cut-4") + post("/v1/batch", "cut-5", "Connection: close") + post("/v1/batch", "cut-6")
    for cut in (len(stream), 700, 97):
        with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = b""
            # It closes behind the fifth, which may be before the last pieces were sent.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for start in range(0, len(stream), cut):
                    connection.sendall(stream[start : start + cut])
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65_536):
                    answers += part
        assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b'"accepted":1') == 5
    found = [event for event in collector.events() if event["id"].startswith("cut-")]
    assert [event["id"] for event in found if event["id"] != "cut-6"] == [f"cut-{n}" for n in range(1, 6)] * 3
    # What stands behind a body was written by the client, and by no proxy.
    assert {event["context"]["ip"] for event in found} == {"127.0.0.1"}


def test_the_site_says_who_the_user_is_to_listed_pages_only(tmp_path: Path) -> None:
    code = "def user_of(headers, cookies):\n    return {'user_id': int(cookies['sessionid']), 'username': 'ada'}\n"
    (tmp_path / "site_users.py").write_text(code)
    processes = Processes(tmp_path / "logs", environ_of(tmp_path))
    users = {"PYTHONPATH": str(tmp_path), "DISPATCHER_COLLECTOR__USER": "site_users:user_of"}
    running = Collector(processes, tmp_path, **users)
    page = {"Origin": "https://www.example.org", "Cookie": "a=b; sessionid=7"}
    assert running.ask("POST", "/event", "event_type=Click1&event=%7B%7D", **page)[0] == 200
    assert running.ask("POST", "/event", "event_type=Click2&event=%7B%7D", **page | {"Cookie": "sessionid=x"})[0] == 200
    items = [{"id": "e-1", "name": "Click3"}]
    body = json.dumps({"key": "k2", "events": items})
    assert running.ask("POST", "/v1/events", body, **page | {"Origin": "https://example.com"})[0] == 200
    users_of = {event["name"]: event["context"].get("user_id") for event in running.events()}
    assert users_of == {"Click1": 7, "Click2": None, "Click3": None}
    assert running.count('user_failures_total{reason="failed"}') == 1
    assert running.child.stop() == 0, running.child.output
    wrong = environ_of(tmp_path) | {"DISPATCHER_COLLECTOR__USER": "no_such_module:user_of"}
    refused = Processes(tmp_path / "wrong", wrong).run("collector", "--port", "0")
    assert refused.returncode == 3
    assert "collector.user" in refused.stderr


def test_whoever_is_told_the_address_can_connect(tmp_path: Path) -> None:
    child = Processes(tmp_path / "logs", environ_of(tmp_path)).dispatcher("collector", "--port", "0")
    child.wait_for_output("metrics: http://127.0.0.1:")
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", child.output):
        socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE).close()
    child.wait_for_output("Started server process")
    assert child.stop() == 0


@pytest.mark.parametrize("durability", ["process", "disk"])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, durability: str) -> None:
    processes = Processes(tmp_path / "logs", environ_of(tmp_path))
    running = Collector(processes, tmp_path, "--durability", durability)
    sent = []
    for number in range(30):
        status, _ = running.send("k2", track("Clicked", f"id-{number}"), track("Clicked", f"other-{number}"))
        assert status == 200
        sent += [f"id-{number}", f"other-{number}"]
    running.child.send(signal.SIGKILL)
    running.child.wait()
    assert [event["id"] for event in running.events()] == sent


def test_it_ends_in_order_and_says_what_is_wrong(tmp_path: Path) -> None:
    processes = Processes(tmp_path / "logs", environ_of(tmp_path))
    none = processes.run("collector", "--port", "99999")
    assert none.returncode == 2
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = processes.run("collector", "--port", str(port))
    assert refused.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in refused.stderr
