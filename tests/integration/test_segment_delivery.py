"""Segment over real HTTP: against the Segment stub, and against a server that fails as its script says."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import pytest
from segment.analytics.request import post

from dispatcher.destinations.base import Batch
from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, encode
from dispatcher.local.segment_stub import SegmentStub
from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.tasks.destinations.segment import (
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    Segment,
    SegmentOptions,
    to_message,
)
from tests.support.waiting import PATIENCE, soon

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WRITE_KEY = "hidden-key"
SECRET = "hidden-payload"
#: More than is sent uncompressed where compression is on.
LARGE = {"note": SECRET * 200, "text": "Grüße, 你好 🎉\u2028\u007f", "amount": 1e-5, "many": 10**17, "none": None}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
#: Steps of a script that are not answers.
CUT, SILENT = b"cut", b"silent"

_new_id = IdSource().new


def an_event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": _new_id(),
        "name": "shop.order.paid",
        "timestamp": datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC),
        "data": {"note": SECRET},
        "context": {"user_id": 7},
    }
    return Event(**(fields | changes))


def a_batch(events: Sequence[Event | bytes], attempt: int = 0) -> Batch:
    payloads = tuple(event if isinstance(event, bytes) else encode(event) for event in events)
    return Batch(destination="segment", id="batch-1", payloads=payloads, attempt=attempt)


def a_segment(host: str, **options: Any) -> Segment:
    return Segment("segment", SegmentOptions(**({"write_key": WRITE_KEY, "host": host} | options)))


def an_answer(status: str, *headers: str, body: str = "{}") -> bytes:
    head = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n{body}".encode()


class ScriptedServer:
    """Answers each request with the next step of its script, and remembers requests and connections."""

    def __init__(self, *script: bytes) -> None:
        self._script = list(script)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self._thread.join()

    def _accept(self) -> None:
        with ThreadPoolExecutor() as pool:
            while True:
                try:
                    connection, _ = self._listener.accept()
                except OSError:
                    return
                self.connections += 1
                self._open.append(connection)
                pool.submit(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while (line := reader.readline()) not in {b"", b"\r\n"}:
                headers = {"method": line.split()[0].decode()}
                while (header := reader.readline().strip()) != b"":
                    name, _, value = header.decode().partition(": ")
                    headers[name] = value
                body = reader.read(int(headers.get("Content-Length", "0")))
                if headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self.requests.append((headers, json.loads(body) if body else {}))
                step = self._script.pop(0) if self._script else OK
                if step == CUT:
                    return
                if step == SILENT:
                    reader.read(1)
                    return
                connection.sendall(step)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "segment.jsonl"


@pytest.fixture
def stub(kept: Path) -> Iterator[SegmentStub]:
    with SegmentStub(file=kept) as stub:
        yield stub


def kept_messages(kept: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in kept.read_text().splitlines()]


def compact(value: Any) -> bytes:
    """JSON as it is sent: without blanks, text beyond ASCII as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def errors(outcomes: Sequence[object]) -> list[str]:
    return [outcome.error for outcome in outcomes if isinstance(outcome, RetryAfter | Dead)]


def test_messages_arrive_in_order_as_they_were_mapped(stub: SegmentStub, kept: Path) -> None:
    events = [
        an_event(
            data={"number": number, "text": "Grüße, 你好 🎉"},
            timestamp=datetime(2026, 1, 1, microsecond=number, tzinfo=UTC),
        )
        for number in range(250)
    ]
    assert list(a_segment(stub.url).deliver(a_batch(events))) == [DELIVERED] * 250
    assert kept_messages(kept) == [to_message(event) for event in events]
    assert stub.counts() == {"requests": 1, "messages": 250, "unique": 250}


def test_ids_and_times_survive_byte_for_byte(stub: SegmentStub, kept: Path) -> None:
    batch = a_batch([an_event(), an_event(timestamp=datetime(2026, 1, 1, tzinfo=UTC))])
    a_segment(stub.url).deliver(batch)
    for payload, message in zip(batch.payloads, kept_messages(kept), strict=True):
        on_the_wire = json.loads(payload)
        assert (message["messageId"], message["timestamp"]) == (on_the_wire["id"], on_the_wire["timestamp"])


def test_the_same_batch_delivered_again_has_the_same_ids(stub: SegmentStub) -> None:
    batch = a_batch([an_event() for _ in range(10)])
    segment = a_segment(stub.url)
    segment.deliver(batch)
    segment.deliver(batch)
    assert stub.counts() == {"requests": 2, "messages": 20, "unique": 10}


def test_direct_calls_and_edx_properties_arrive(stub: SegmentStub, kept: Path) -> None:
    identify = an_event(type="identify", name="identify", data={"userId": "7", "traits": {"plan": "x"}})
    plain = an_event()
    a_segment(stub.url, properties="edx").deliver(a_batch([identify, plain]))
    first, second = kept_messages(kept)
    assert (first["type"], first["traits"]) == ("identify", {"plan": "x"})
    assert second["properties"]["data"] == {"note": SECRET}


@pytest.mark.parametrize("compressed", [False, True])
def test_a_request_looks_like_one_from_segments_own_libraries(compressed: bool) -> None:
    with ScriptedServer(OK, OK) as server:
        segment = a_segment(server.url, gzip=compressed)
        before = datetime.now(UTC)
        segment.deliver(a_batch([an_event(data=LARGE)]))
        segment.deliver(a_batch([an_event(data=LARGE)], attempt=3))
    (first, body), (second, _) = server.requests
    assert first["Authorization"] == "Basic " + base64.b64encode(b"hidden-key:").decode()
    assert first.get("Content-Encoding") == ("gzip" if compressed else None)
    assert body["writeKey"] == WRITE_KEY
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["sentAt"])
    assert abs(datetime.fromisoformat(body["sentAt"]) - before) < timedelta(seconds=30)
    assert "X-Retry-Count" not in first
    assert second["X-Retry-Count"] == "3"


def test_one_connection_serves_all_requests() -> None:
    with ScriptedServer() as server:
        segment = a_segment(server.url)
        for _ in range(5):
            segment.deliver(a_batch([an_event() for _ in range(150)]))
    assert len(server.requests) == 5
    assert server.connections == 1


def test_threads_deliver_concurrently(stub: SegmentStub) -> None:
    segment = a_segment(stub.url)
    with ThreadPoolExecutor(16) as pool:
        batches = [a_batch([an_event() for _ in range(20)]) for _ in range(64)]
        outcomes = list(pool.map(segment.deliver, batches))
    assert all(list(outcome) == [DELIVERED] * 20 for outcome in outcomes)
    assert stub.counts() == {"requests": 64, "messages": 1280, "unique": 1280}


def large_events(count: int) -> list[Event]:
    """Events of which a request holds fifteen."""
    return [an_event(data={"padding": "x" * 30_000}) for _ in range(count)]


def test_a_request_is_as_long_as_was_counted() -> None:
    events = [an_event(data={"padding": "x" * size}) for size in (0, 10, 1_000)]
    with ScriptedServer() as server:
        segment = a_segment(server.url)
        segment.deliver(a_batch(events))
    items = [segment.item(event) for event in events]
    ((headers, _),) = server.requests
    assert int(headers["Content-Length"]) == segment.body_bytes(items, sum(map(len, items)))


def test_requests_keep_within_segments_size_limit(stub: SegmentStub) -> None:
    with ScriptedServer() as server:
        events = large_events(40)
        outcomes = a_segment(server.url).deliver(a_batch(events))
    assert list(outcomes) == [DELIVERED] * 40
    assert max(int(headers["Content-Length"]) for headers, _ in server.requests) <= MAX_REQUEST_BYTES
    assert [len(body["batch"]) for _, body in server.requests] == [15, 15, 10]
    assert [message["messageId"] for _, body in server.requests for message in body["batch"]] == [
        event.id for event in events
    ]


@pytest.mark.parametrize("character", ["x", "ü", "\\"])
def test_an_oversized_event_is_dead_and_no_other_is(stub: SegmentStub, kept: Path, character: str) -> None:
    empty = len(compact(to_message(an_event(data={"padding": ""}))))
    each = len(compact(character)) - 2
    room, rest = divmod(MAX_MESSAGE_BYTES - empty, each)
    fits = an_event(data={"padding": character * room + "x" * rest})
    too_large = an_event(data={"padding": character * room + "x" * (rest + 1)})
    outcomes = a_segment(stub.url).deliver(a_batch([an_event(), too_large, fits]))
    assert [outcomes[0], outcomes[2]] == [DELIVERED, DELIVERED]
    assert isinstance(outcomes[1], Dead)
    assert outcomes[1].reason == "oversized"
    assert too_large.id in outcomes[1].error
    assert str(MAX_MESSAGE_BYTES + 1) in outcomes[1].error
    assert len(compact(kept_messages(kept)[1])) == MAX_MESSAGE_BYTES


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"5",
        b"\xff\xfe",
        b'{"id":"hidden-payload"}',
        b'{"id":"\xffhidden-payload"}',
        b'{"id":"a","name":"n","timestamp":"0001-01-01T00:00:00+10:00","data":"hidden-payload","context":{}}',
        b'{"id":"a","name":"n","timestamp":"2026-01-01T00:00:00Z","context":{},"data":'
        + b"[" * 200_000
        + b"]" * 200_000
        + b"}",
    ],
)
def test_an_undecodable_payload_is_dead_and_no_other_is(stub: SegmentStub, payload: bytes) -> None:
    outcomes = a_segment(stub.url).deliver(a_batch([an_event(), payload, an_event()]))
    assert [outcomes[0], outcomes[2]] == [DELIVERED, DELIVERED]
    assert isinstance(outcomes[1], Dead)
    assert outcomes[1].reason == "undecodable"
    assert SECRET not in outcomes[1].error
    assert stub.counts()["messages"] == 2


def test_a_batch_of_dead_events_sends_nothing() -> None:
    with ScriptedServer() as server:
        outcomes = a_segment(server.url).deliver(a_batch([b"", b"{"]))
    assert [type(outcome) for outcome in outcomes] == [Dead, Dead]
    assert server.connections == 0


@pytest.mark.parametrize("write_key", [None, ""])
def test_without_a_write_key_events_wait_and_the_error_names_the_variable(write_key: str | None) -> None:
    outcomes = a_segment("http://127.0.0.1:9", write_key=write_key).deliver(a_batch([an_event(), b"{"]))
    assert [type(outcome) for outcome in outcomes] == [RetryAfter, RetryAfter]
    assert "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY" in errors(outcomes)[0]


FAILURES = {
    "500": (an_answer("500 Internal Server Error"), None, "answered 500 Internal Server Error"),
    "503 with seconds": (an_answer("503 Service Unavailable", "Retry-After: 7"), 7, "answered 503"),
    "429 with seconds": (an_answer("429 Too Many Requests", "Retry-After: 12"), 12, "answered 429"),
    "429 without": (an_answer("429 Too Many Requests"), None, "answered 429"),
    "429 with nonsense": (an_answer("429 Too Many Requests", "Retry-After: soon"), None, "answered 429"),
    "401": (an_answer("401 Unauthorized"), None, "answered 401"),
    "a status of its own": (an_answer("599 Who Knows"), None, "answered 599"),
    "not modified": (an_answer("304 Not Modified"), None, "answered 304"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", None, "does not answer in HTTP"),
    "half a status line": (b"HTTP/1.1 20", None, "gave no answer within 0.3 s"),
    "cut": (CUT, None, "hung up"),
    "silent": (SILENT, None, "gave no answer within 0.3 s"),
}


@pytest.mark.parametrize(("step", "seconds", "words"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failed_request_parks_its_events_until_the_retry_after_is_over(
    step: bytes, seconds: float | None, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = f'{{"code":"{SECRET}","message":"{WRITE_KEY} {SECRET}"}}'
    step = step.replace(b"Content-Length: 2\r\n", f"Content-Length: {len(body)}\r\n".encode()).replace(
        b"\r\n\r\n{}", f"\r\n\r\n{body}".encode()
    )
    with ScriptedServer(step) as server:
        # After an incomplete answer the client waits until its own timeout.
        outcomes = a_segment(server.url, timeout_seconds=0.3).deliver(a_batch([an_event(), an_event()]))
    assert [type(outcome) for outcome in outcomes] == [RetryAfter, RetryAfter]
    assert outcomes[0] == outcomes[1]
    assert isinstance(outcomes[0], RetryAfter)
    assert outcomes[0].seconds == seconds
    assert words in outcomes[0].error
    told = "".join(errors(outcomes)) + caplog.text
    assert WRITE_KEY not in told
    assert SECRET not in told


def test_a_retry_after_may_be_a_date() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    with ScriptedServer(an_answer("429 Too Many Requests", f"Retry-After: {then}")) as server:
        (outcome,) = a_segment(server.url).deliver(a_batch([an_event()]))
    assert isinstance(outcome, RetryAfter)
    assert outcome.seconds is not None
    assert 60 < outcome.seconds <= 100


def test_a_refused_connection_parks_the_events() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    (outcome,) = a_segment(f"http://127.0.0.1:{port}").deliver(a_batch([an_event()]))
    assert outcome == RetryAfter(f"Segment at 127.0.0.1:{port} cannot be reached: connection refused")


def test_a_host_that_accepts_no_connection_fails_after_the_connect_timeout() -> None:
    # One connection fills the backlog: the kernel then leaves further ones unanswered.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(address)
            limits = {"connect_timeout_seconds": 0.2, "timeout_seconds": 2 * PATIENCE}
            segment = a_segment(f"http://127.0.0.1:{address[1]}", **limits)
            with soon():
                (outcome,) = segment.deliver(a_batch([an_event()]))
        finally:
            for filler in fillers:
                filler.close()
    assert outcome == RetryAfter(f"Segment at 127.0.0.1:{address[1]} took no connection within 0.2 s")


def test_events_sent_before_a_failure_stay_delivered_and_the_rest_is_not_tried() -> None:
    with ScriptedServer(OK, an_answer("429 Too Many Requests", "Retry-After: 5")) as server:
        outcomes = a_segment(server.url).deliver(a_batch(large_events(50)))
    assert list(outcomes[:15]) == [DELIVERED] * 15
    assert {type(outcome) for outcome in outcomes[15:]} == {RetryAfter}
    assert {outcome.seconds for outcome in outcomes[15:] if isinstance(outcome, RetryAfter)} == {5}
    assert len(outcomes) == 50
    assert len(server.requests) == 2


def test_a_refused_request_is_bisected_until_only_the_bad_event_is_dead() -> None:
    refused = an_answer("400 Bad Request")
    # The fifteen; then each time the first half, which is taken, and the second, with the bad event at its end.
    script = [refused, *[OK, refused] * 4]
    with ScriptedServer(*script) as server:
        outcomes = a_segment(server.url).deliver(a_batch(large_events(20)))
    assert [position for position, outcome in enumerate(outcomes) if outcome != DELIVERED] == [14]
    assert isinstance(outcomes[14], Dead)
    assert outcomes[14].reason == "invalid"
    assert outcomes[14].error.endswith("answered 400 Bad Request")
    assert len(server.requests) == len(script) + 1


@pytest.mark.parametrize(("status", "reason"), [(400, "invalid"), (413, "oversized"), (422, "invalid")])
def test_an_event_refused_alone_is_dead(status: int, reason: str) -> None:
    with ScriptedServer(an_answer(f"{status} No")) as server:
        (outcome,) = a_segment(server.url).deliver(a_batch([an_event()]))
    assert isinstance(outcome, Dead)
    assert outcome.reason == reason


@pytest.mark.parametrize(
    ("status", "retry_class"), [(401, "setup"), (403, "setup"), (429, "throttled"), (500, "transient")]
)
def test_every_other_status_has_its_retry_class(status: int, retry_class: str) -> None:
    with ScriptedServer(an_answer(f"{status} No")) as server:
        (outcome,) = a_segment(server.url).deliver(a_batch([an_event()]))
    assert isinstance(outcome, RetryAfter)
    assert outcome.retry_class == retry_class


def test_an_unknown_host_is_a_setup_error() -> None:
    (outcome,) = a_segment("http://segment.invalid").deliver(a_batch([an_event()]))
    assert isinstance(outcome, RetryAfter)
    assert outcome.retry_class == "setup"


def test_after_a_failure_the_next_delivery_works() -> None:
    with ScriptedServer(OK, CUT, OK) as server:
        segment = a_segment(server.url)
        outcomes = [segment.deliver(a_batch([an_event()]))[0] for _ in range(3)]
    assert [type(outcome) is RetryAfter for outcome in outcomes] == [False, True, False]


def test_a_lost_answer_repeats_the_same_message() -> None:
    batch = a_batch([an_event()])
    with ScriptedServer(CUT, OK) as server:
        segment = a_segment(server.url)
        assert isinstance(segment.deliver(batch)[0], RetryAfter)
        assert list(segment.deliver(batch)) == [DELIVERED]
    (_, lost), (_, again) = server.requests
    assert lost["batch"] == again["batch"]


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Moved"]
)
def test_no_redirect_is_followed_with_key_and_events(status: str) -> None:
    with ScriptedServer() as server:
        moved = an_answer(status, f"Location: {server.url}/login?key={SECRET}")
        with ScriptedServer(moved) as redirecting:
            (outcome,) = a_segment(redirecting.url).deliver(a_batch([an_event()]))
        assert server.connections == 0
    assert isinstance(outcome, RetryAfter)
    assert outcome.retry_class == "setup"
    assert "redirects are not followed" in outcome.error
    assert SECRET not in outcome.error


def test_the_write_key_is_not_replaced_by_that_of_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1\nlogin somebody\npassword else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with ScriptedServer(OK) as server:
        assert list(a_segment(server.url).deliver(a_batch([an_event()]))) == [DELIVERED]
    assert server.requests[0][0]["Authorization"] == f"Basic {base64.b64encode(f'{WRITE_KEY}:'.encode()).decode()}"


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("attempt", [0, 2])
def test_requests_are_those_of_segments_own_package(gzipped: bool, attempt: int) -> None:
    event = an_event(data=LARGE)
    with ScriptedServer(OK, OK) as server:
        assert list(a_segment(server.url, gzip=gzipped).deliver(a_batch([event], attempt=attempt))) == [DELIVERED]
        post(WRITE_KEY, server.url, gzip=gzipped, retry_count=attempt, batch=[to_message(event)], sentAt="now")
    (ours, our_body), (theirs, their_body) = server.requests
    # Which bytes a connection takes, and which answers.
    transport = {"Accept", "Accept-Encoding", "Connection", "Content-Length", "Host"}
    assert {name: value for name, value in ours.items() if name not in transport} == {
        name: value for name, value in theirs.items() if name not in transport
    }
    assert {**our_body, "sentAt": "now"} == their_body
    assert list(our_body) == list(their_body)


def test_batches_that_are_delivered_together_share_requests() -> None:
    batches = [a_batch([an_event() for _ in range(count)], attempt) for count, attempt in ((30, 0), (1, 4), (29, 2))]
    with ScriptedServer(OK) as server:
        results = a_segment(server.url).deliver_all(batches)

    assert results == [[DELIVERED] * 30, [DELIVERED], [DELIVERED] * 29]
    ((headers, body),) = server.requests
    assert headers["X-Retry-Count"] == "4"
    assert [message["messageId"] for message in body["batch"]] == [
        json.loads(payload)["id"] for batch in batches for payload in batch.payloads
    ]


def test_one_of_several_batches_is_dead_where_it_may_have_come_before() -> None:
    first, second, third = (a_batch([an_event(), an_event()]) for _ in range(3))
    with ScriptedServer(OK) as server:
        segment = a_segment(server.url, at_most_once=True)
        results = segment.deliver_all([first, replace(second, maybe_delivered=True), third])

    assert [outcome == DELIVERED for result in results for outcome in result] == [True] * 2 + [False] * 2 + [True] * 2
    assert {outcome.reason for outcome in results[1] if isinstance(outcome, Dead)} == {"maybe_delivered"}
    assert len(server.requests[0][1]["batch"]) == 4


def test_the_lease_that_ends_first_ends_the_delivery_of_all_batches() -> None:
    batches = [a_batch([an_event() for _ in range(100)]) for _ in range(3)]
    batches[1] = replace(batches[1], lease_until=monotonic() - 1)
    with ScriptedServer() as server:
        results = a_segment(server.url).deliver_all(batches)

    assert {type(outcome) for result in results for outcome in result} == {RetryAfter}
    assert server.requests == []


def test_a_class_with_a_deliver_of_its_own_keeps_it_for_several_batches() -> None:
    class Careful(Segment):
        def deliver(self, batch: Batch) -> Sequence[Outcome]:
            return [Dead("careful", "none goes")] * len(batch.payloads) if batch.attempt else super().deliver(batch)

    with ScriptedServer() as server:
        careful = Careful("careful", SegmentOptions(write_key=WRITE_KEY, host=server.url))
        first, second = careful.deliver_all([a_batch([an_event()]), a_batch([an_event()], attempt=1)])

    assert (first, [type(outcome) for outcome in second]) == ([DELIVERED], [Dead])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "host", ["https://api.segment.io", "https://events.eu1.segmentapis.com", "https://cdp.example"]
)
def test_requests_are_compressed_by_default_where_segment_takes_them(host: str) -> None:
    assert a_segment(host).takes_gzip is (host != "https://cdp.example")


def test_a_server_that_takes_no_gzip_gets_the_events_uncompressed_the_next_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ScriptedServer(an_answer("415 Unsupported Media Type")) as server:
        segment = a_segment(server.url, gzip=True)
        batch = a_batch([an_event(data=LARGE), an_event(data=LARGE)])
        refused, taken = segment.deliver(batch), segment.deliver(batch)

    assert [outcome.retry_class for outcome in refused if isinstance(outcome, RetryAfter)] == ["transient"] * 2
    assert "does not take compressed requests" in errors(refused)[0]
    assert list(taken) == [DELIVERED] * 2
    assert [headers.get("Content-Encoding") for headers, _ in server.requests] == ["gzip", None]
    assert "set gzip = false" in caplog.text


def test_a_415_of_an_uncompressed_request_is_about_the_setup() -> None:
    with ScriptedServer(an_answer("415 Unsupported Media Type")) as server:
        (outcome,) = a_segment(server.url).deliver(a_batch([an_event(data=LARGE)]))

    assert isinstance(outcome, RetryAfter)
    assert outcome.retry_class == "setup"


def test_small_bodies_are_not_compressed() -> None:
    with ScriptedServer() as server:
        assert list(a_segment(server.url, gzip=True).deliver(a_batch([an_event()]))) == [DELIVERED]

    assert "Content-Encoding" not in server.requests[0][0]


def test_requests_to_this_machine_bypass_the_environments_proxy(
    stub: SegmentStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert list(a_segment(stub.url).deliver(a_batch([an_event()]))) == [DELIVERED]


def test_request_bodies_are_not_logged_even_at_debug(stub: SegmentStub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    a_segment(stub.url).deliver(a_batch([an_event()]))
    assert SECRET not in caplog.text
    assert WRITE_KEY not in caplog.text
