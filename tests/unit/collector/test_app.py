"""A request that is answered at once gets the answer, the event and the counts that ASGI would have given it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dispatcher.collector.app import App
from dispatcher.collector.commit import Committer
from dispatcher.collector.head import Head
from dispatcher.collector.route import read_known_headers
from dispatcher.config import Settings
from dispatcher.outbox.journal import parse

_SOURCES = {
    "web": {"write_key": "k1", "origins": ["https://*.example.org"], "names": ["Click*"], "ip": "truncate"},
    "server": {"write_key": "k2", "kind": "server", "event_bytes": 2_000},
}
_HEADERS = [
    (b"Host", b"events.example.org"),
    (b"User-Agent", b"browser/1 \xe9"),
    (b"X-Forwarded-For", b"6.6.6.6, 192.0.2.77"),
    (b"ORIGIN", b"https://www.example.org"),
    (b"origin", b"https://other.example.com"),
    (b"x-forwarded-for", b"10.0.0.1"),
    (b"Cookie", b"session=5"),
]
#: Times, which differ between two calls.
_TIME = re.compile(rb'"timestamp":"2[^"]*"')


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    tables: dict[str, Any] = {
        "state_directory": tmp_path,
        "broker_url": f"redis+socket://{tmp_path}/none.sock",
        "relay": {"mode": "external"},
        "collector": {"proxies": ["10.0.0.0/8", "127.0.0.1"], "depth": 20},
        "sources": _SOURCES,
    }
    committer = Committer(Settings(**tables))
    committer.open()
    yield App(Settings(**tables), committer)
    committer.close()


def payloads(tmp_path: Path) -> list[bytes]:
    files = sorted(tmp_path.glob("outbox/*/0*.journal"))
    return [_TIME.sub(b"", payload) for file in files for payload in parse(file.read_bytes()).payloads]


def by_asgi(app: App, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    messages: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Mapping[str, Any]) -> None:
        messages.append(message)

    lower = [(name.lower(), value) for name, value in headers]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": lower}
    asyncio.run(app({**scope, "client": ("127.0.0.1", 5)}, receive, send))
    lines = sorted(b"%b: %b" % header for header in messages[0]["headers"])
    return b"%d\n" % messages[0]["status"] + b"\n".join(lines) + b"\n" + messages[1]["body"]


def at_once(app: App, path: str, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    route, known = app.find_immediate()[path], read_known_headers(headers)
    answer = app.answer(Head(route, path, headers, known, "127.0.0.1"), body, keeps_alive=True)
    head, _, text = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return b"%b\n" % status.split()[1] + b"\n".join(sorted(lines)) + b"\n" + text


_EVENT = {"id": "e1", "name": "Clicked", "timestamp": "2026-01-02T03:04:05.678Z", "data": {"a": [1, None, "é"]}}
_CALL = {"type": "track", "event": "Clicked", "messageId": "m1", "properties": {"p": 1.5}}


def page(*events: Any, **more: Any) -> bytes:
    return json.dumps({"key": "k1", "sentAt": "2026-01-02T03:05:00.000Z", "events": events, **more}).encode()


def deep(levels: int) -> dict[str, Any]:
    return {} if not levels else {"x": deep(levels - 1)}


@pytest.mark.parametrize(
    ("path", "body", "more"),
    [
        ("/v1/events", page(_EVENT), []),
        ("/v1/events", page({**_EVENT, "page": "https://x.org/courses/course-v1:A+B+C/x", "context": {"s": 1}}), []),
        ("/v1/events", page(_EVENT, {"id": "e2", "type": "track", "name": "Clicked", "data": {}}, 7, {"id": ""}), []),
        ("/v1/events", page({**_EVENT, "name": "Other"}, {**_EVENT, "data": "text"}, {**_EVENT, "data": None}), []),
        ("/v1/events", page({**_EVENT, "timestamp": "1970-W01-1T07:08:09.123Z"}, {**_EVENT, "timestamp": 5}), []),
        ("/v1/events", page({**_EVENT, "data": deep(30)}, {**_EVENT, "data": deep(10)}), []),
        ("/v1/events", page(_EVENT, dropped={"storage_full": 3}), []),
        ("/v1/events", gzip.compress(page(_EVENT), mtime=0), [(b"Content-Encoding", b"gzip")]),
        ("/v1/events", b'{"key":"k1","events":[{"id":"e1","name":"Clicked","data":{"n":NaN,"s":"\\ud83d"}}]}', []),
        ("/v1/events", b"\xff\x00", []),
        ("/v1/events", b"", []),
        ("/v1/events", page(_EVENT).replace(b"k1", b"k9"), []),
        ("/v1/batch", json.dumps({"writeKey": "k2", "batch": [_CALL, {**_CALL, "event": ""}]}).encode(), []),
        ("/v1/track", json.dumps(_CALL).encode(), [(b"Authorization", b"Basic azI6")]),
        ("/v1/track", json.dumps({**_CALL, "properties": {"p": "x" * 3_000}, "writeKey": "k2"}).encode(), []),
        ("/event", b"event_type=page_close&event=%7B%22a%22%3A1%7D&page=https%3A%2F%2Fwww.example.org%2F", []),
        ("/v1/m", b"{}", []),
    ],
)
def test_a_request_answered_at_once_gets_what_asgi_gives(
    path: str, body: bytes, more: list[tuple[bytes, bytes]], app: App, tmp_path: Path
) -> None:
    headers = [*_HEADERS, *more]
    expected = by_asgi(app, path, headers, body)
    counted = [line for line in app.counts.render().split(b"\n") if line.startswith(b"dispatcher")]
    stored = payloads(tmp_path)
    assert at_once(app, path, headers, body) == expected
    both = payloads(tmp_path)
    if b'"id":"0' not in b"".join(both):  # one that was made differs
        assert both[len(stored) :] == stored
    again = [line for line in app.counts.render().split(b"\n") if line.startswith(b"dispatcher")]
    twice = [re.sub(rb" (\d+)$", lambda found: b" %d" % (2 * int(found[1])), line) for line in counted]
    assert again == twice
