"""A head that is known again means what it meant, and nothing else is taken for it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from dispatcher.collector.head import Head, RepeatedHead

_ROUTE = cast("Any", object())
_HEADERS = [(b"Host", b"a.example"), (b"Content-Length", b"5"), (b"Origin", b"https://a.example")]
_BODY = b"12345"


def request(headers: list[tuple[bytes, bytes]], body: bytes = _BODY) -> bytes:
    return b"".join((b"POST /v1/events HTTP/1.1\r\n", *(b"%b: %b\r\n" % header for header in headers), b"\r\n", body))


def learned(headers: list[tuple[bytes, bytes]], sent: bytes | None = None) -> RepeatedHead | None:
    head = Head(_ROUTE, "/v1/events", headers, {}, "")
    return RepeatedHead.learn(request(headers) if sent is None else sent, len(_BODY), head)


def test_a_body_of_another_length_is_found() -> None:
    repeated = learned(_HEADERS)
    assert repeated is not None
    for size in (0, 1, 9, 10, 5_000, 99_999):
        body = b"x" * size
        sent = request([(name, b"%d" % size if name == b"Content-Length" else value) for name, value in _HEADERS], body)
        assert repeated.body_of(sent) == body


@pytest.mark.parametrize(
    "sent",
    [
        request(_HEADERS)[:-1],
        request(_HEADERS) + b"P",
        request(_HEADERS) * 2,
        request(_HEADERS)[1:],
        request(_HEADERS).replace(b"a.example", b"b.example"),
        request(_HEADERS).replace(b"https://a", b"https://b"),
        request(_HEADERS).replace(b"events", b"eventt"),
        request(_HEADERS).replace(b": 5", b": +5"),
        request(_HEADERS).replace(b": 5", b": 5 "),
        request(_HEADERS).replace(b": 5", b":  5"),
        request(_HEADERS).replace(b": 5", b": "),
        request(_HEADERS).replace(b": 5", b": 5, 5"),
        request(_HEADERS).replace(b": 5", b": 0x5"),
        request(_HEADERS).replace(b": 5", b": \xc2\xb2"),
        request(_HEADERS).replace(b": 5\r\n", b": 5\n"),
        request(_HEADERS).replace(b": 5", b": 0000000005"),
        request([*_HEADERS, (b"Transfer-Encoding", b"chunked")]),
        request([(b"X-More", b"1"), *_HEADERS]),
        request([*_HEADERS, (b"X-More", b"1")]),
        b"",
    ],
    ids=str,
)
def test_nothing_else_is_taken_for_it(sent: bytes) -> None:
    repeated = learned(_HEADERS)
    assert repeated is not None
    assert repeated.body_of(sent) is None


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ([(b"Host", b"a.example")], None),
        ([*_HEADERS, (b"content-length", b"5")], None),
        (_HEADERS, request(_HEADERS).replace(b": 5", b":5")),
        (_HEADERS, request(_HEADERS).replace(b": 5", b": 5 ")),
        (_HEADERS, request(_HEADERS) + request(_HEADERS)),
        (_HEADERS, request(_HEADERS, b"x")),
        (_HEADERS, b"\r\n" + request(_HEADERS)[:-4]),
        (_HEADERS, b"12345"),
    ],
    ids=range(8),
)
def test_what_is_written_in_another_way_is_not_learned(headers: list[tuple[bytes, bytes]], sent: bytes | None) -> None:
    assert learned(headers, sent) is None
