"""Answers as they come: what is read, when the connection can be used again, and what hostile ones cost."""

from __future__ import annotations

import gzip
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from dispatcher.connections.channel import Channel, ProtocolError
from dispatcher.connections.deadline import Deadline
from dispatcher.tasks.destinations.http.answer import Answer, Headers, read_answer
from tests.support.waiting import PATIENCE, soon


@contextmanager
def sending(data: bytes, *, hangs_up: bool = True) -> Iterator[Channel]:
    """A connection over which this comes."""
    ours, theirs = socket.socketpair()

    def send() -> None:
        with suppress(OSError):
            theirs.sendall(data)
            if hangs_up:
                theirs.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    channel = Channel(ours)
    try:
        yield channel
    finally:
        channel.close()
        theirs.close()
        thread.join()


def read(data: bytes, *, reads_body: bool = True, hangs_up: bool = True) -> tuple[Answer, bool]:
    with sending(data, hangs_up=hangs_up) as channel:
        return read_answer(channel, Deadline(PATIENCE), reads_body=reads_body)


@pytest.mark.parametrize(
    ("data", "body", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\n{\r\n01;a\r\n}\r\n0\r\n\r\n", b"{}", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", b"{}", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n{}", b"", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 500 No\r\n\r\n", b"{}", False),
    ],
)
def test_a_body_ends_where_its_headers_say(data: bytes, body: bytes, reusable: bool) -> None:
    answer, is_reusable = read(data)

    assert (answer.body, answer.fault, is_reusable) == (body, None, reusable)


def test_a_status_line_needs_no_more_than_its_status() -> None:
    for data in (
        b"HTTP/1.1 503",
        b"HTTP/1.1 503 ",
        b"HTTP/1.0\t503\tNo\r",
        b"HTTP/2 503\n",
        b"HTTP/1.1 503 " + b"a" * 400_000,
    ):
        answer, reusable = read(data)
        assert (answer.status, reusable) == (503, False)
        assert answer.fault is not None


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1", b"HTTP/1.1 20", b"HTTP/1.1 2000 OK\r\n", b"http/1.1 200 OK\r\n", b"\x00" * 99]
)
def test_what_has_no_status_is_no_answer(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data)


def test_headers_are_found_in_any_case_and_joined() -> None:
    answer, _ = read(b"HTTP/1.1 200 OK\r\nretry-AFTER:  7 \r\nX-A: 1\r\nx-a: 2\r\n\tmore\r\nContent-Length: 0\r\n\r\n")

    assert answer.headers["Retry-After"] == "7"
    assert answer.headers.get("X-A") == "1, 2 more"
    assert list(answer.headers) == ["retry-AFTER", "x-a", "Content-Length"]
    assert Headers().get("Retry-After") is None


@pytest.mark.parametrize("coding", ["gzip", "X-GZIP", "deflate", "identity, gzip", "deflate of its own"])
def test_a_compressed_body_is_read(coding: str) -> None:
    packed = gzip.compress(b"{}") if "gzip" in coding.lower() else zlib.compress(b"{}")
    if coding == "deflate of its own":
        coding, packed = "deflate", zlib.compress(b"{}")[2:-4]
    answer, _ = read(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(packed))
        + packed
    )

    assert (answer.body, answer.fault) == (b"{}", None)


def test_a_bomb_is_not_unpacked() -> None:
    packed = gzip.compress(gzip.compress(bytes(1 << 26)))
    for coding in (b"gzip", b"gzip, gzip", b"gzip," * 50_000):
        answer, _ = read(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(packed)) + packed
        )
        assert len(answer.body) <= 1 << 20
        assert coding == b"gzip" or answer.fault is not None


HOSTILE = {
    "headers without an end": b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 1_000_000,
    "one header again and again": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 60_000 + b"\r\n",
    "a header that goes on and on": b"HTTP/1.1 200 OK\r\na: b\r\n" + b" c\r\n" * 60_000 + b"\r\n",
    "a line without an end": b"HTTP/1.1 200 OK\r\n" + b"a" * 10_000_000,
    "tiny chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 1_100_000,
    "trailers without an end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 100_000,
    "a chunk of an odd size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a chunk of a huge size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
    "a huge length": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "a large body": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"a" * 10_000_000,
}


@pytest.mark.parametrize("reads_body", [False, True], ids=["status", "body"])
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_costs_little_and_keeps_its_status(data: bytes, reads_body: bool) -> None:
    with soon():
        answer, reusable = read(data, reads_body=reads_body, hangs_up=False)

    assert (answer.status, reusable) == (200, False)
    assert answer.fault is not None
    assert len(answer.body) <= 1 << 20


def test_informational_answers_without_an_end_are_no_answer() -> None:
    with pytest.raises(ProtocolError):
        read(b"HTTP/1.1 102 Processing\r\nX-A: b\r\n\r\n" * 100_000)
