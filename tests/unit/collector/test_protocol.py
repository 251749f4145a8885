"""A connection answers a stream of requests as one connection for each would, however the bytes come."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from itertools import accumulate, count, islice, pairwise
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from dispatcher import config
from dispatcher.collector.app import App
from dispatcher.collector.commit import Committer
from dispatcher.collector.head import RepeatedHead
from dispatcher.collector.protocol import make_protocol
from dispatcher.outbox.journal import parse

_STREAMS = 60


class Transport(asyncio.Transport):
    """Remembers what was written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.7", 5), "sockname": ("127.0.0.1", 80)})
        self.written = b""
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    overrides = {
        "relay": {"mode": "external"},
        "outbox": {"directory": str(tmp_path)},
        "collector": {"secret": "x" * 40},
        "destinations": {"google_tag_manager_web": {"events": ["*"]}},
        "sources": {"web": {"write_key": "web"}, "other": {"write_key": "other", "ip": "drop"}},
    }
    settings = config.load({}, overrides)
    committer = Committer(settings)
    committer.open()
    yield App(settings, committer)
    committer.close()


def stored(root: Path) -> list[str]:
    """What is in the outbox, without times."""
    journals = sorted(root.glob("*/*.journal"))
    events = [msgspec.json.decode(payload) for path in journals for payload in parse(path.read_bytes()).payloads]
    # As text: to Python 1, 1.0 and True are the same.
    return [json.dumps({name: value for name, value in event.items() if name != "timestamp"}) for event in events]


def some_head(chance: Random) -> bytes:
    """A head that pages send, or one that looks nearly so; the digits of the length are still to come."""
    name = chance.choice([b"Content-Length"] * 5 + [b"content-length"])
    path = chance.choice([b"/v1/events"] * 5 + [b"/v1/nothing", b"/healthz"])
    agent = chance.choice([b"One/1"] * 4 + [b"Two/2"])
    more = chance.choice([b""] * 6 + [b"Expect: x\r\n", b"Connection: keep-alive\r\n"])
    length = chance.choice([b"%d"] * 8 + [b" %d", b"%d "])
    return b"POST %b HTTP/1.1\r\nHost: a\r\nUser-Agent: %b\r\n%b%b: %b\r\n\r\n" % (path, agent, more, name, length)


def some_bodies(chance: Random) -> Iterator[bytes]:
    """Bodies of pages that say nearly the same again and again; no two events have one id."""
    pages = chance.sample(["https://a.example/courses/course-v1:a+b+c/x", "https://a.example/", 7, True, None], 2)
    sessions = chance.sample(chance.choice([["s", "t", ["s"], {"s": 1}], [1, 1.0, True]]), 2)
    others = chance.choices([{}, {}, {"anonymousId": "v"}, {"anonymousId": 1}, {"via": "x"}, {"type": "track"}], k=2)
    keys = chance.choices(["web", "web", "web", "other", "none"], k=2)
    visitors = [None, f"p_{1:032x}", f"p_{2:032x}"]
    for number in count():
        item = {
            "id": f"e{number}",
            "name": "page.seen",
            "timestamp": "2026-01-02T03:04:05.678Z",
            "data": {"text": "x" * chance.choice([0, 5, 90, 900])},
            "page": chance.choice(pages),
            "context": {"session": chance.choice(sessions)},
            **chance.choice(others),
        }
        body = {
            "key": chance.choice(keys),
            "visitor": chance.choice(visitors),
            "events": [item] * chance.choice([1, 3]),
        }
        yield json.dumps(body).encode()


def some_requests(chance: Random) -> list[bytes]:
    """Requests of one connection, of which most have one head."""
    head, bodies = some_head(chance), some_bodies(chance)
    return [
        (head if chance.random() < 0.85 else some_head(chance)) % len(body) + body
        for body in islice(bodies, chance.randint(4, 16))
    ]


Connect = Callable[[], Any]


@pytest.fixture
def connect(app: App) -> Connect:
    """Makes the protocol of a new connection."""
    settings = uvicorn.Config(app, lifespan="off", log_level="critical", server_header=False, date_header=False)
    settings.load()
    make: Any = make_protocol(app._settings, app)
    return lambda: make(config=settings, server_state=ServerState(), app_state={}, _loop=asyncio.get_running_loop())


async def answers_to(connect: Connect, chunks: list[bytes]) -> bytes:
    """What one connection answers; each chunk comes in a turn of its own of the event loop."""
    protocol = connect()
    transport = Transport()
    protocol.connection_made(transport)
    for chunk in chunks:
        protocol.data_received(chunk)
        for _ in range(12):
            await asyncio.sleep(0)
    protocol.connection_lost(None)
    return transport.written


def cut(chance: Random, requests: list[bytes]) -> list[bytes]:
    """The bytes of the requests in other pieces: most often one each, as clients send them."""
    if chance.random() < 0.5:
        return requests
    whole = b"".join(requests)
    ends = accumulate(map(len, requests))
    cuts = sorted(
        {0, len(whole), *(end for end in ends if chance.random() < 0.6), *chance.choices(range(len(whole)), k=3)}
    )
    return [whole[start:end] for start, end in pairwise(cuts)]


@pytest.mark.parametrize("part", range(5))
def test_a_stream_is_answered_as_its_requests_alone(
    part: int, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = 0
    find_body = RepeatedHead.body_of

    def find(self: RepeatedHead, data: bytes) -> bytes | None:
        nonlocal known
        body = find_body(self, data)
        known += body is not None
        return body

    monkeypatch.setattr(RepeatedHead, "body_of", find)

    async def play() -> None:
        for seed in range(part * _STREAMS // 5, (part + 1) * _STREAMS // 5):
            chance = Random(seed)
            requests = some_requests(chance)
            before = len(stored(tmp_path))
            alone = b"".join([await answers_to(connect, [one]) for one in requests])
            events = stored(tmp_path)[before:]
            assert await answers_to(connect, cut(chance, requests)) == alone, seed
            assert stored(tmp_path)[before + len(events) :] == events, seed

    asyncio.run(play())
    assert known > 20


def test_what_looks_like_a_request_inside_of_another_is_none(connect: Connect) -> None:
    body = b'{"key": "none", "events": []}'
    head = b"POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    request = head % len(body) + body
    asked = [request, head % len(request), request, b"POST /v1/nothing HTTP/1.1\r\nX: ", request, request]
    answered = asyncio.run(answers_to(connect, asked))
    found = re.findall(rb'"code":"(\w+)"', answered)
    assert found == [b"unknown_key", b"not_json", b"unknown_path", b"unknown_key"]
