"""Identifiers: which values name somebody or something, and in which form."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.destinations.identifiers import (
    to_address,
    to_id,
    to_path,
    to_referrer,
    to_user_agent,
    to_web_url,
)

NOTHING: tuple[Any, ...] = (None, True, False, "", " \t\n", [], {}, ["7"], {"id": 7})
DAMAGED_TEXTS = ("a\x00b", "a\nb", "a\x1b[2Jb", "a\x7fb", "a\x85b", "a\u2028b")


@pytest.mark.parametrize(
    ("value", "id_"),
    [
        ("7", "7"),
        (" 7 ", "7"),
        ("ada", "ada"),
        ("a b", "a b"),
        ("\u0645\u06cc\u200c\u0646\u0627", "\u0645\u06cc\u200c\u0646\u0627"),
        ("null", "null"),
        ("7.50", "7.50"),
        (0, "0"),
        (-1, "-1"),
        (2**70, str(2**70)),
        (7.0, "7"),
        (0.0, "0"),
        (-0.0, "0"),
        *((value, None) for value in (*NOTHING, *DAMAGED_TEXTS, 7.5, 1e22, float("inf"), float("nan"), b"7")),
    ],
)
def test_an_id_is_text_or_a_whole_number(value: object, id_: str | None) -> None:
    assert to_id(value) == id_


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("2001:DB8::0:7", "2001:db8::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("192.0.2.7:4711", "192.0.2.7"),
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[::ffff:192.0.2.7]:80", "192.0.2.7"),
        ("192.0.2.7, 198.51.100.1, 10.0.0.1", "192.0.2.7"),
        ("2001:db8::7,192.0.2.7", "2001:db8::7"),
        ("10.0.0.1", "10.0.0.1"),
        *((text, None) for text in ("fe80::1%eth0", "fe80::1%", "::1%lo", "unknown", "unknown, 192.0.2.7", "_hidden")),
        *((text, None) for text in ("0.0.0.0", "::", "224.0.0.1", "ff02::1", "localhost", "192.0.2", "192.0.2.7/24")),  # noqa: S104
        *((text, None) for text in ("010.0.0.1", "192.0.2.256", "192.0.2.7:", "[192.0.2.7", "***", "1" * 5000, ",")),
        *((text, None) for text in ("::ffff:0.0.0.0", "::ffff:0:0", "192.0.2.7\x00", "\u0661.0.2.7")),
        *((value, None) for value in (*NOTHING, *DAMAGED_TEXTS, 7, 3221225991, 7.0)),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_address_is_one_that_means_something_elsewhere(value: object, address: str | None) -> None:
    assert to_address(value) == address


@pytest.mark.parametrize("value", [*NOTHING, *DAMAGED_TEXTS, 7, "x" * 10_000], ids=lambda value: repr(value)[:40])
def test_a_browser_has_a_name_that_a_header_can_hold(value: object) -> None:
    assert to_user_agent(value) is None
    assert to_user_agent(" Mozilla/5.0 (X11; Linux x86_64) ") == "Mozilla/5.0 (X11; Linux x86_64)"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "http://example.org:8000/a?b=c#d",
        "https://example.org/größe?é=%20",
        "https://[2001:db8::7]/x",
        "HTTPS://EXAMPLE.ORG/",
    ],
)
def test_a_web_page_has_a_url(url: str) -> None:
    assert to_web_url(url) == to_web_url(f" {url}\n") == to_referrer(url) == url


@pytest.mark.parametrize(
    "value",
    [
        *NOTHING,
        *(f"https://example.org/{text}" for text in DAMAGED_TEXTS),
        *("x_module", "example.org/a", "/a", "http://", "https:///a", "https://?a", "http:example.org", "about:blank"),
        *("javascript:alert(1)", "data:text/html,a", "file:///etc/passwd", "https://ex ample/", "https://a/<script>"),
        *("http://[::1", "http://[x]/", "https://example.org:port/", "https://example.org:0/", "https://a:99999/"),
        "https://example.org/?" + "a" * 20_000,
        17,
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_no_browser_shows_as_a_page_is_none(value: object) -> None:
    assert to_web_url(value) is None
    assert to_referrer(value) is None


def test_an_app_can_lead_to_a_page_but_is_none() -> None:
    app = "android-app://com.example.mail/"
    assert (to_referrer(app), to_web_url(app)) == (app, None)


def test_a_path_is_text_that_a_url_could_hold() -> None:
    assert [to_path(value) for value in ("/a b/ü", "a\x00", "/" * 10_000, 7, None)] == ["/a b/ü", *[None] * 4]


@given(st.one_of(st.text(), st.ip_addresses().map(str), st.integers(), st.floats(), st.none(), st.binary()))
def test_any_value_is_an_identifier_that_can_be_or_none(value: object) -> None:
    assert to_id(value) is None or to_id(to_id(value)) == to_id(value)
    if (address := to_address(value)) is not None:
        assert str(ip_address(address)) == address
    if (url := to_web_url(value)) is not None:
        assert urlsplit(url).hostname
