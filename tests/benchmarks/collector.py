"""Collector: events over HTTP, from one client on the same machine, beside servers that read a body and answer.

The CPU is the server's process alone: neither the client's, nor that of a relay, which is a process of its own here.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.cpu import busy_seconds
from tests.benchmarks.http_load import HttpLoad
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME, data
from tests.benchmarks.step import Plan, Result, Step

_CONNECTIONS: Final = 32
# Of the requests a second at full load.
_LOAD: Final = 0.7
_WARM_UP_SECONDS: Final = 0.3
_START_SECONDS: Final = 30.0
#: Events of a request, by what 200 means; the peers keep nothing, whatever it is.
_CASES: Final = ((1, "process"), (10, "process"), (100, "process"), (1, "disk"))
_HEAD: Final = (
    b"POST /v1/events HTTP/1.1\r\nHost: events.example.org\r\nConnection: keep-alive\r\nContent-Length: %d\r\n"
    b'sec-ch-ua-platform: "Linux"\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)'
    b' Chrome/140.0.0.0 Safari/537.36\r\nsec-ch-ua: "Chromium";v="140"\r\nContent-Type: text/plain;charset=UTF-8\r\n'
    b"sec-ch-ua-mobile: ?0\r\nAccept: */*\r\nOrigin: https://courses.example.org\r\nSec-Fetch-Site: same-site\r\n"
    b"Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nReferer: https://courses.example.org/\r\n"
    b"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n"
)
# Bodies that are made ahead, so that making them is not measured. A number is put into each.
_BODIES: Final = 200
_REQUESTS_A_PAGE: Final = 10
_NUMBER: Final = b"#############"


def steps(plan: Plan) -> Iterator[Step]:
    """Each server with each number of events a request."""
    for events, durability in _CASES:
        for subject in ("ours", "bare_uvicorn", "starlette") if durability == "process" else ("ours",):
            yield Step(
                measurement="collector",
                subject=subject,
                case=f"{'synced, ' * (durability == 'disk')}{events} event{'s' * (events > 1)} a request",
                measure=measure,
                arguments={
                    "subject": subject,
                    "events": events,
                    "durability": durability,
                    "seconds": plan.collector_seconds,
                },
            )


def measure(place: Place, *, subject: str, events: int, durability: str, seconds: float) -> Result:
    """CPU of a request and of an event, requests a second, and how long one waits at 70 % of that."""
    answer = b'"accepted":%d,"rejected":[]}' % events if subject == "ours" else b"}"
    with (
        _server(place, subject, durability) as (process, port),
        HttpLoad.opened(port, _requests(events), answer, connections=_CONNECTIONS) as load,
    ):
        load.as_fast_as_it_goes(_WARM_UP_SECONDS)
        start, cpu = time.perf_counter(), busy_seconds(process)
        requests = load.as_fast_as_it_goes(seconds)
        elapsed, cpu = time.perf_counter() - start, busy_seconds(process) - cpu
        waits = sorted(load.at_rate(_LOAD * requests / elapsed, seconds))
        return {
            "cpu_us_per_request": round(cpu / requests * 1e6, 1),
            "cpu_us_per_event": round(cpu / requests / events * 1e6, 1),
            "requests_per_second": round(requests / elapsed),
            "p50_ms": round(waits[len(waits) // 2] * 1e3, 2),
            "p99_ms": round(waits[len(waits) * 99 // 100] * 1e3, 2),
        }


def _requests(events: int) -> Callable[[int], bytes]:
    """The next request of a connection, as tracker.js sends them; no two events have the same id.

    A connection is a visitor's, who sends ten requests from a page before they go to another.
    """
    samples, made = data(), []
    for _ in range(_BODIES if events < 100 else 20):
        items: list[dict[str, Any]] = [
            {
                "id": f"0199aa00-{place:04x}-7000-8000-{_NUMBER.decode()}",
                "name": NAME,
                "timestamp": "2026-10-05T07:08:09.123Z",
                "data": sample,
                "page": f"https://courses.example.org/courses/{sample['course_id']}/courseware/",
                "context": {"session": "5d41402abc4b2a76b9719d911017c592", "screen": "1920x1080"},
                "anonymousId": "9b2f1c1e-8a50-4c1d-9d8e-0c7f6f2b6a11",
            }
            for place, sample in enumerate(islice(samples, events))
        ]
        body = {"key": "bench", "sentAt": "2026-10-05T07:08:10.456Z", "events": items}
        text = json.dumps(body, separators=(",", ":")).encode()
        made.append(_HEAD % len(text) + text)
    numbers, sent = count(), Counter[int]()

    def next_request(connection: int) -> bytes:
        sent[connection] += 1
        page = connection + sent[connection] // _REQUESTS_A_PAGE
        return made[page % len(made)].replace(_NUMBER, b"%013d" % next(numbers))

    return next_request


@contextmanager
def _server(place: Place, subject: str, durability: str) -> Iterator[tuple[int, int]]:
    """The id of its process and its port, once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if subject == "ours":
        arguments = ["dispatcher", "collector", "--port", str(port), "--durability", durability]
    else:
        arguments = ["tests.benchmarks.http_servers", subject, str(port)]
    environ = os.environ | {
        "DISPATCHER_RELAY__MODE": "external",
        "DISPATCHER_SOURCES__BENCH__WRITE_KEY": "bench",
        "DISPATCHER_OUTBOX__MAX_BYTES": str(8 << 30),
    }
    output = Path(place.directory) / "server"
    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", *arguments], env=environ, stdout=file, stderr=file)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the server did not start: {output.read_text()[-2000:]}") from None
                time.sleep(0.05)
        yield process.pid, port
    finally:
        process.kill()
        process.wait()
