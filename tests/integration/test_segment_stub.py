"""The Segment stub over real HTTP, in this process and as a process of its own."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dispatcher
from dispatcher.local.segment_stub import MAX_BODY_BYTES, SegmentStub

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(dispatcher.__path__[0]).parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "segment.jsonl"


@pytest.fixture
def stub(file: Path) -> Iterator[SegmentStub]:
    with SegmentStub(file=file) as stub:
        yield stub


@pytest.fixture
def connection(stub: SegmentStub) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
    yield connection
    connection.close()


def post(
    connection: http.client.HTTPConnection, path: str, body: bytes | dict[str, Any], **headers: str
) -> tuple[int, dict[str, Any]]:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request("POST", path, encoded, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def counts(connection: http.client.HTTPConnection) -> dict[str, int]:
    connection.request("GET", "/")
    return json.loads(connection.getresponse().read())


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_each_message_of_a_batch_is_written_as_a_line_and_counted(
    connection: http.client.HTTPConnection, file: Path
) -> None:
    batch = [{"type": "track", "event": "Grüße\n", "messageId": "a"}, {"type": "identify", "messageId": "b"}]
    status, answer = post(connection, "/v1/batch", {"batch": batch, "writeKey": "hidden-key", "sentAt": "now"})
    assert (status, answer) == (200, {"success": True})
    assert lines(file) == batch
    assert counts(connection) == {"requests": 1, "messages": 2, "unique": 2}
    assert "hidden-key" not in file.read_text()


@pytest.mark.parametrize("call", ["track", "identify", "page", "screen", "group", "alias"])
def test_single_calls_are_accepted_too(connection: http.client.HTTPConnection, file: Path, call: str) -> None:
    assert post(connection, f"/v1/{call}", {"userId": "1", "messageId": "a", "writeKey": "hidden-key"})[0] == 200
    assert lines(file) == [{"type": call, "userId": "1", "messageId": "a"}]


def test_any_write_key_is_accepted(connection: http.client.HTTPConnection) -> None:
    assert post(connection, "/v1/batch", {"batch": []}, Authorization="Basic bm9ib2R5Og==")[0] == 200


def test_compressed_bodies_are_inflated(connection: http.client.HTTPConnection, file: Path) -> None:
    body = gzip.compress(json.dumps({"batch": [{"messageId": "a"}]}).encode())
    assert post(connection, "/v1/batch", body, **{"Content-Encoding": "gzip"})[0] == 200
    assert lines(file) == [{"messageId": "a"}]


def test_a_repeated_message_counts_once_as_unique(connection: http.client.HTTPConnection) -> None:
    for batch in ([{"messageId": "a"}, {"messageId": "b"}], [{"messageId": "a"}], [{"type": "track"}]):
        post(connection, "/v1/batch", {"batch": batch})
    assert counts(connection) == {"requests": 3, "messages": 4, "unique": 2}


def test_the_number_of_remembered_ids_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.local.segment_stub._GENERATION_IDS", 10)
    stub = SegmentStub()
    for number in range(100):
        # Each id comes twice, with nine others in between.
        stub.take([{"messageId": number}, {"messageId": number - 9}] if number >= 9 else [{"messageId": number}])
    assert stub.counts() == {"requests": 100, "messages": 191, "unique": 100}
    stub.take([{"messageId": 79}, {"messageId": 91}])
    assert stub.counts()["unique"] == 101, "the 20 latest ids should be remembered, and older ones forgotten"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"5",
        b"{}",
        b'{"batch":5}',
        b'{"batch":[5]}',
        b'{"batch":[{"a":NaN}]}',
        b"[" * 100_000,
    ],
)
def test_a_body_without_a_batch_is_refused_and_the_connection_stays_open(
    connection: http.client.HTTPConnection, file: Path, body: bytes
) -> None:
    status, answer = post(connection, "/v1/batch", body)
    assert status == 400
    assert answer["success"] is False
    assert post(connection, "/v1/batch", {"batch": [{"messageId": "good"}]})[0] == 200
    assert lines(file) == [{"messageId": "good"}]


@pytest.mark.parametrize(
    "body",
    [b"not gzip", gzip.compress(b'{"batch":[]}')[:-9], gzip.compress(b" " * (MAX_BODY_BYTES + 1))],
    ids=["no gzip", "cut off", "too large"],
)
def test_a_broken_or_too_large_compressed_body_is_refused(connection: http.client.HTTPConnection, body: bytes) -> None:
    assert post(connection, "/v1/batch", body, **{"Content-Encoding": "gzip"})[0] == 400


def test_a_body_over_segments_limit_is_refused_unread(connection: http.client.HTTPConnection) -> None:
    connection.putrequest("POST", "/v1/batch")
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 400
    assert response.getheader("Connection") == "close"
    response.read()


@pytest.mark.parametrize("path", ["/", "/v1/", "/v1/nothing", "/v2/batch"])
def test_other_paths_are_refused(connection: http.client.HTTPConnection, path: str) -> None:
    assert post(connection, path, {"batch": []})[0] == 400


def test_answers_do_not_wait_for_nagles_delay(
    connection: http.client.HTTPConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[socket.socket] = []
    accept = socket.socket.accept
    monkeypatch.setattr(socket.socket, "accept", lambda self: accepted.append((end := accept(self))[0]) or end)

    assert post(connection, "/v1/batch", {"batch": []})[0] == 200

    # With the delay, each answer of two writes would take 40 ms.
    assert [end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for end in accepted] == [1]


def test_lines_of_many_connections_stay_whole(stub: SegmentStub, file: Path) -> None:
    def send(sender: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
        for number in range(20):
            batch = [{"messageId": f"{sender}-{number}-{part}", "padding": "x" * 2000} for part in range(5)]
            assert post(connection, "/v1/batch", {"batch": batch})[0] == 200
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert len({line["messageId"] for line in lines(file)}) == 800
    assert stub.counts() == {"requests": 160, "messages": 800, "unique": 800}


def test_each_request_is_logged_in_a_short_line() -> None:
    told: list[str] = []
    done = threading.Event()

    def on_request(line: str) -> None:
        told.append(line)
        done.set()

    names = ["a.b", "a.b", "line\nbreak", "third", "fourth", "fifth"]
    with SegmentStub(on_request=on_request) as stub:
        connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
        post(connection, "/v1/batch", {"batch": [{"type": "track", "event": name} for name in names]})
        assert done.wait(60)
        done.clear()
        post(connection, "/v1/identify", {"userId": "ada", "traits": {"email": "ada@example.org"}})
        assert done.wait(60)
        connection.close()
    assert told == [r"6 messages: a.b, 'line\nbreak', third and 2 other names", "1 message: identify"]


def test_the_stub_listens_on_this_machine_only(stub: SegmentStub) -> None:
    assert stub.url == f"http://127.0.0.1:{stub.port}"
    with socket.socket() as elsewhere:
        # All of 127/8 is this machine, but only one address was bound.
        assert elsewhere.connect_ex(("127.0.0.2", stub.port)) != 0


def test_a_taken_port_is_an_error_and_leaves_nothing_open(stub: SegmentStub, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        SegmentStub(port=stub.port, file=tmp_path / "other.jsonl").start()


def test_a_full_disk_is_answered_with_500_and_nothing_is_counted() -> None:
    with SegmentStub(file=Path("/dev/full")) as stub:
        connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
        status, answer = post(connection, "/v1/batch", {"batch": [{"messageId": "a"}]})
        connection.close()
        assert status == 500
        assert "No space left" in answer["message"]
        assert stub.counts() == {"requests": 0, "messages": 0, "unique": 0}


def test_a_disk_that_fills_up_during_a_write_leaves_no_half_line(
    connection: http.client.HTTPConnection, file: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        first = post(connection, "/v1/batch", {"batch": [{"messageId": "a", "padding": "x" * 600}]})
        second = post(connection, "/v1/batch", {"batch": [{"messageId": "b", "padding": "x" * 600}]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    third = post(connection, "/v1/batch", {"batch": [{"messageId": "c"}]})
    assert (first[0], second[0], third[0]) == (200, 500, 200)
    assert [line["messageId"] for line in lines(file)] == ["a", "c"]


def test_stop_ends_kept_connections_and_may_be_called_twice(
    stub: SegmentStub, connection: http.client.HTTPConnection
) -> None:
    assert post(connection, "/v1/batch", {"batch": []})[0] == 200
    port = stub.port
    stub.stop()
    stub.stop()
    assert connection.sock.recv(1) == b""
    with socket.socket() as late:
        assert late.connect_ex(("127.0.0.1", port)) != 0


def test_the_next_stub_appends_to_the_file(file: Path) -> None:
    for number in range(2):
        with SegmentStub(file=file) as stub:
            connection = http.client.HTTPConnection("127.0.0.1", stub.port, timeout=60)
            post(connection, "/v1/track", {"messageId": str(number)})
            connection.close()
    assert [line["messageId"] for line in lines(file)] == ["0", "1"]


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_its_address_first_and_stops_cleanly(file: Path, stop_signal: signal.Signals) -> None:
    code = "from dispatcher.cli.segment_stub import segment_stub; segment_stub()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "--file", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().removeprefix("http://127.0.0.1:"))
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            assert post(connection, "/v1/track", {"event": "shop.order.paid", "messageId": "a"})[0] == 200
            assert process.stdout.readline() == "1 message: shop.order.paid\n"
            # The connection is still open and idle, and does not keep the process alive.
            process.send_signal(stop_signal)
            assert process.wait(60) == 0
            connection.close()
            assert process.stderr is not None
            assert process.stderr.read() == ""
        finally:
            process.kill()
    assert [line["messageId"] for line in lines(file)] == ["a"]


def test_the_command_says_what_to_do_when_its_port_is_taken(stub: SegmentStub) -> None:
    code = "from dispatcher.cli.segment_stub import segment_stub; segment_stub()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--port", str(stub.port)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "--port" in done.stderr


def test_the_former_name_of_the_command_still_works_and_warns(stub: SegmentStub) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dispatcher", "sink", "--port", str(stub.port)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "is called `dispatcher segment-stub` now" in done.stderr
    assert "the stub cannot start" in done.stderr
