"""Requests as bytes: the target, the headers that are added, and those that only the body decides."""

from __future__ import annotations

import pytest

from dispatcher.connections.endpoint import Endpoint
from dispatcher.tasks.destinations.http import Request

DIRECT = Endpoint(host="vendor.example", port=443, has_tls=True)


def lines_of(request: Request, endpoint: Endpoint = DIRECT) -> list[str]:
    head, _, body = request.to_bytes(endpoint).partition(b"\r\n\r\n")
    assert body == request.body
    return head.decode("latin-1").split("\r\n")


@pytest.mark.parametrize(
    ("url", "query", "target"),
    [
        ("https://vendor.example", {}, "/"),
        ("https://vendor.example/a/b", {"key": "a b&c", "app": "1:2"}, "/a/b?key=a+b%26c&app=1:2"),
        ("https://vendor.example/größe und%20mehr", {}, "/gr%C3%B6%C3%9Fe%20und%20mehr"),
        ("https://user:word@vendor.example/a#part", {}, "/a"),
        ("https://vendor.example/a?b=ü", {}, "/a?b=%C3%BC"),
    ],
)
def test_the_target_is_path_and_query(url: str, query: dict[str, str], target: str) -> None:
    lines = lines_of(Request(url=url, body=b"{}", query=query))

    assert lines[0] == f"POST {target} HTTP/1.1"
    assert "word" not in "".join(lines)


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [
        (DIRECT, "vendor.example"),
        (Endpoint(host="vendor.example", port=80, has_tls=False), "vendor.example"),
        (Endpoint(host="vendor.example", port=8443, has_tls=True), "vendor.example:8443"),
        (Endpoint(host="::1", port=8080, has_tls=False), "[::1]:8080"),
    ],
)
def test_the_host_has_a_port_unless_it_is_the_usual_one(endpoint: Endpoint, host: str) -> None:
    assert f"Host: {host}" in lines_of(Request(url="https://vendor.example/", body=b""), endpoint)


def test_a_destinations_headers_replace_the_usual_ones_but_not_the_framing() -> None:
    headers = {"user-agent": "mine", "Content-length": "7", "Transfer-Encoding": "chunked", "X-Word": " grüße "}

    lines = lines_of(Request(url="https://vendor.example/", body=b"abc", headers=headers))

    assert [line for line in lines if line.lower().startswith("user-agent")] == ["user-agent: mine"]
    assert [line for line in lines if line.lower().startswith("content-length")] == ["Content-Length: 3"]
    assert not [line for line in lines if line.lower().startswith("transfer")]
    assert "X-Word: grüße" in lines
