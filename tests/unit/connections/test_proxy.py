"""Which proxy the environment has for a server, if any."""

from __future__ import annotations

import pytest

from dispatcher.connections.proxy import Proxy, proxy_to
from dispatcher.errors import SetupError


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://proxy:3128", Proxy(scheme="http", host="proxy", port=3128)),
        ("proxy:3128", Proxy(scheme="http", host="proxy", port=3128)),
        ("http://proxy", Proxy(scheme="http", host="proxy", port=80)),
        ("https://proxy/", Proxy(scheme="https", host="proxy", port=443)),
        ("http://us%40er:p%3Aw@proxy", Proxy(scheme="http", host="proxy", port=80, user="us@er", password="p:w")),
        ("http://[::1]:3128", Proxy(scheme="http", host="::1", port=3128)),
        ("socks5h://proxy", Proxy(scheme="socks5h", host="proxy", port=1080)),
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_is_read_from_its_variable(
    url: str, proxy: Proxy, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, url)

    assert proxy_to("https", "vendor.example", 443) == proxy
    assert "p:w" not in repr(proxy)


def test_each_scheme_has_its_own_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")

    assert proxy_to("http", "vendor.example", 80) is None


@pytest.mark.parametrize(
    "exceptions", ["vendor.example", ".example", "*", "a.org, vendor.example", "vendor.example:80"]
)
def test_an_exception_is_reached_directly(exceptions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not looked at where nothing goes through it.
    monkeypatch.setenv("HTTP_PROXY", "ftp://never")
    monkeypatch.setenv("NO_PROXY", exceptions)

    assert proxy_to("http", "vendor.example", 80) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "::1"])
def test_this_machine_is_reached_directly(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy")

    assert proxy_to("http", host, 80) is None


def test_networks_are_exceptions_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy")
    monkeypatch.setenv("NO_PROXY", "nonsense/7, 203.0.113.0/24, 2001:db8::/32")

    assert proxy_to("http", "203.0.113.7", 80) is None
    assert proxy_to("http", "2001:db8::1", 80) is None
    assert proxy_to("http", "192.0.2.1", 80) is not None


@pytest.mark.parametrize(
    "url", ["ftp://proxy", "http://", "http://:word@", "http://proxy:99999", "http://[proxy", "http://a..b", "://"]
)
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", url)

    with pytest.raises(SetupError, match="ALL_PROXY"):
        proxy_to("http", "vendor.example", 80)
