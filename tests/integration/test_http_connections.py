"""The connections of HTTP destinations over real sockets: proxies, TLS, and peers that send a byte now and then."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from dispatcher.connections.channel import Channel
from dispatcher.connections.deadline import Deadline
from dispatcher.connections.endpoint import Endpoint
from dispatcher.doctor.endpoint import describe, probe
from dispatcher.event import Event, encode
from dispatcher.tasks.destinations.http import Answer, NoAnswer, Request
from dispatcher.tasks.destinations.http.client import HttpClient
from dispatcher.tasks.destinations.meta_conversions import MetaConversions
from dispatcher.tasks.destinations.meta_conversions.destination import MetaConversionsOptions
from dispatcher.tasks.testing import Vendor, batch_of
from tests.support.trickle import Trickle
from tests.support.waiting import PATIENCE, soon
from tests.support.web_proxy import WebProxy

HOST = "vendor.example"
LABEL = f"Shop at {HOST}"

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    with Vendor() as vendor:
        yield vendor


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> trustme.CA:
    """Whom connections trust."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def secure_vendor(authority: trustme.CA) -> Iterator[Vendor]:
    vendor = Vendor()
    vendor.tls = context_of(authority, HOST)
    with vendor:
        yield vendor


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(label=LABEL, connect_seconds=PATIENCE, answer_seconds=PATIENCE, connections=10)
    yield client
    client.close()


@pytest.fixture
def hasty() -> Iterator[HttpClient]:
    """For peers that never answer."""
    client = HttpClient(label=LABEL, connect_seconds=1.0, answer_seconds=1.0, connections=10)
    yield client
    client.close()


def context_of(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    return context


def a_request(url: str) -> Request:
    return Request(url=url, body=b"{}", query={"key": "hidden"}, headers={"Content-Type": "application/json"})


def status_of(answer: Answer | NoAnswer) -> int:
    assert isinstance(answer, Answer), answer
    return answer.status


def outcome_of(answer: Answer | NoAnswer) -> tuple[str, str, bool]:
    """Retry class and error of a request that got no answer, and whether it may have been taken."""
    assert isinstance(answer, NoAnswer), answer
    assert "hidden" not in answer.outcome.error
    return answer.outcome.retry_class, answer.outcome.error, answer.maybe_taken


# Proxies


def test_a_proxy_is_told_the_whole_address_and_its_password(
    client: HttpClient, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebProxy(vendor.url) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@{proxy.address}")
        assert [status_of(client.send(a_request(f"http://{HOST}/events"))) for _ in range(3)] == [200] * 3

    lines = proxy.requests[0].split(b"\r\n")
    assert lines[0] == b"POST http://vendor.example/events?key=hidden HTTP/1.1"
    assert b"Proxy-Authorization: Basic dXNlcjpwQHNz" in lines
    assert len(proxy.requests) == 1, "the connection is used again"
    assert [call.path for call in vendor.calls] == ["/events"] * 3


@pytest.mark.parametrize("proxy_has_tls", [False, True])
def test_https_goes_through_a_proxys_tunnel(
    proxy_has_tls: bool,
    client: HttpClient,
    secure_vendor: Vendor,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tls = context_of(authority, "127.0.0.1") if proxy_has_tls else None
    with WebProxy(secure_vendor.url, tls=tls) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"{'https' if proxy_has_tls else 'http'}://user:word@{proxy.address}")
        assert [status_of(client.send(a_request(f"https://{HOST}/events"))) for _ in range(3)] == [200] * 3

    assert proxy.requests == [
        b"CONNECT vendor.example:443 HTTP/1.1\r\nHost: vendor.example:443\r\nProxy-Authorization: Basic dXNlcjp3b3Jk"
    ]
    assert [(call.path, call.query["key"]) for call in secure_vendor.calls] == [("/events", "hidden")] * 3
    assert "proxy-authorization" not in secure_vendor.calls[0].headers


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_socks_proxy_leads_to_the_vendor(
    variable: str, client: HttpClient, secure_vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebProxy(secure_vendor.url) as proxy:
        monkeypatch.setenv(variable, f"socks5h://{proxy.address}")
        assert [status_of(client.send(a_request(f"https://{HOST}/events"))) for _ in range(2)] == [200] * 2

    assert len(proxy.requests) == 1
    assert HOST.encode() in proxy.requests[0], "the proxy looks the name up"


@pytest.mark.parametrize(
    ("answer", "retry_class", "words"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "setup", "the proxy answered 407"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "setup", "let this host through"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "transient", "the proxy answered 502"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "transient", "the proxy does not answer in HTTP"),
        (b"", "transient", "took no connection within 1 s"),
    ],
    ids=["407", "403", "502", "another protocol", "silent"],
)
def test_a_proxy_that_opens_no_tunnel_is_named_and_nothing_was_sent(
    answer: bytes, retry_class: str, words: str, hasty: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with WebProxy("http://127.0.0.1:9", answer=answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hidden@{proxy.address}")
        found = outcome_of(hasty.send(a_request(f"https://{HOST}")))

    assert (found[0], found[2]) == (retry_class, False)
    assert words in found[1]


# Deadlines


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 200 ", b"\r\n", b"\x16\x03\x03\x40\x00"], ids=["headers", "blank lines", "TLS"]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_peer_that_trickles_is_left_at_the_deadline(scheme: str, data: bytes, hasty: HttpClient) -> None:
    with Trickle(data) as peer, soon():
        answer = hasty.send(a_request(f"{scheme}://{peer.address}"))

    # In TLS nothing was sent yet.
    assert not (isinstance(answer, NoAnswer) and answer.maybe_taken and scheme == "https")
    assert not (isinstance(answer, Answer) and answer.fault is None)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "HTTP_PROXY"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
def test_a_proxy_that_trickles_is_left_at_the_deadline(
    variable: str, scheme: str, hasty: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Trickle(b"H\r\n") as peer:
        monkeypatch.setenv(variable, f"{scheme}://{peer.address}")
        with soon():
            found = outcome_of(hasty.send(a_request(f"{variable.partition('_')[0].lower()}://{HOST}")))

    assert found[0] == "transient"


def test_a_peer_that_does_not_read_is_left_at_the_deadline(hasty: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        request = Request(url=f"http://127.0.0.1:{listener.getsockname()[1]}", body=bytes(1 << 26))
        with soon():
            found = outcome_of(hasty.send(request))

    assert found == ("transient", f"{LABEL} gave no answer within 1 s", True)


def test_an_answer_before_the_end_of_the_request_counts(client: HttpClient) -> None:
    def refuse(listener: socket.socket) -> None:
        end, _ = listener.accept()
        with end:
            end.recv(65536)
            end.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            time.sleep(0.3)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, args=(listener,), daemon=True).start()
        request = Request(url=f"http://127.0.0.1:{listener.getsockname()[1]}", body=bytes(1 << 24))
        assert status_of(client.send(request)) == 413


def test_a_name_service_that_does_not_answer_is_left_at_the_deadline(
    hasty: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(2 * PATIENCE) and [])
    with soon():
        found = outcome_of(hasty.send(a_request(f"http://{HOST}")))
    released.set()

    assert found[0] == "setup"
    assert "does not answer" in found[1]


@pytest.mark.parametrize("respond", [b"", b"HTTP/1.1 2"], ids=["nothing", "trickle"])
def test_the_doctors_probe_ends_too(respond: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.doctor.endpoint._TIMEOUT_SECONDS", 0.5)
    # Whichever error comes first.
    with Trickle(respond or b"\x16") as peer, soon(), pytest.raises(OSError) as failed:  # noqa: PT011
        probe(Endpoint.of(urlsplit(f"https://{peer.address}")))
    assert describe(failed.value)


# Connections


def test_a_connection_is_used_again_until_the_vendor_hangs_up(client: HttpClient, vendor: Vendor) -> None:
    assert [status_of(client.send(a_request(vendor.url))) for _ in range(3)] == [200] * 3
    vendor.close()
    vendor.start()
    assert status_of(client.send(a_request(vendor.url))) == 200


def test_sixteen_places_keep_sixteen_connections(vendor: Vendor) -> None:
    class Together(MetaConversions):
        """Its requests are under way together, as those of a worker's places are."""

        together: threading.Barrier

        def request(self, items: Sequence[bytes]) -> Request:
            if items:
                self.together.wait(PATIENCE)
            return super().request(items)

    options = MetaConversionsOptions(dataset_id="1", access_token="hidden", host=vendor.url)
    destination = Together("ads", options)
    payload = encode(
        Event(id="7", name="paid", timestamp=datetime.now(UTC), data={}, context={"email": "ada@example.org"})
    )
    connected: list[int] = []
    connect = Endpoint.connect

    def counted(endpoint: Endpoint, deadline: Deadline) -> Channel:
        connected.append(1)
        return connect(endpoint, deadline)

    try:
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(16) as places:
            patch.setattr(Endpoint, "connect", counted)
            for _ in range(4):
                destination.together = threading.Barrier(16)
                list(places.map(destination.deliver, [batch_of([payload])] * 16))
    finally:
        destination.close()

    assert len(vendor.calls) == 64
    assert len(connected) <= 16


def test_an_untrusted_certificate_is_a_setup_error(
    client: HttpClient, secure_vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")

    retry_class, error, maybe_taken = outcome_of(client.send(a_request(secure_vendor.url)))

    assert (retry_class, maybe_taken) == ("setup", False)
    assert "certificate that is not trusted" in error
    assert list(secure_vendor.calls) == []


HEADERS: dict[str, Callable[[], Request]] = {
    "a line end": lambda: Request(url="http://127.0.0.1:9", body=b"", headers={"X-Key": "hidden\r\nX-B: c"}),
    "other letters": lambda: Request(url="http://127.0.0.1:9", body=b"", headers={"X-Key": "hidden ключ"}),
    "a blank in the name": lambda: Request(url="http://127.0.0.1:9", body=b"", headers={"X Key": "hidden"}),
    "bytes": lambda: Request(url="http://127.0.0.1:9", body=b"", headers={"X-Key": b"hidden"}),  # type: ignore[dict-item]
    "a method": lambda: Request(url="http://127.0.0.1:9", body=b"", method="PO ST"),
    "no scheme": lambda: Request(url="vendor.example/hidden", body=b""),
    "another scheme": lambda: Request(url="ftp://vendor.example/hidden", body=b""),
    "no host": lambda: Request(url="http:///hidden", body=b""),
    "a port": lambda: Request(url="http://vendor.example:99999/hidden", body=b""),
    "a bracket": lambda: Request(url="http://[hidden/", body=b""),
    "half a character": lambda: Request(url="http://127.0.0.1:9/hidden\ud800", body=b""),
    "a blank in the host": lambda: Request(url="http://hidden host/", body=b""),
}


@pytest.mark.parametrize("flaw", HEADERS)
def test_a_request_that_http_cannot_carry_is_a_setup_error(flaw: str, client: HttpClient) -> None:
    retry_class, error, maybe_taken = outcome_of(client.send(HEADERS[flaw]()))

    assert (retry_class, maybe_taken) == ("setup", False)
    assert error.startswith(f"{LABEL} cannot be sent to")
