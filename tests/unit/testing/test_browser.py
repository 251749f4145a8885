"""``capture_browser``: a collector whose events a test looks at, asked by plain HTTP here."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dispatcher.testing import BrowserEvents, Captured, capture_browser

ID = "0198a7d4-0000-7000-8000-00000000000{}"


def ask(browser: BrowserEvents, method: str, path: str, body: bytes = b"") -> bytes:
    connection = http.client.HTTPConnection(browser.url.partition("//")[2], timeout=60)
    try:
        connection.request(method, path, body, {"Content-Type": "text/plain", "Origin": "https://shop.example"})
        return connection.getresponse().read()
    finally:
        connection.close()


def send(browser: BrowserEvents, *numbers: int) -> None:
    """Send what tracker.js does."""
    events = [{"id": ID.format(n), "name": "page.read", "data": {"n": n}, "age": 0} for n in numbers]
    answered = json.loads(
        ask(browser, "POST", "/v1/events", json.dumps({"key": browser.key, "events": events}).encode())
    )
    assert (answered["accepted"], answered["rejected"]) == (len(numbers), [])


def test_what_a_browser_sent_is_there_once(browser_events: BrowserEvents, emitted_events: Captured) -> None:
    send(browser_events, 1, 2)
    send(browser_events, 2, 3)
    assert [event.data["n"] for event in browser_events.events if isinstance(event.data, dict)] == [1, 2, 3]
    (event,) = browser_events.wait_for("page.read", {"n": 2}, context={"event_source": "browser"}, count=1)
    assert event.id == ID.format(2)
    assert emitted_events.events == []


def test_it_waits_for_what_comes_later(browser_events: BrowserEvents) -> None:
    threading.Timer(0.1, send, (browser_events, 1)).start()
    browser_events.wait_for("page.read", timeout_seconds=60)
    with pytest.raises(
        AssertionError, match=r"wanted at least one event 'page\.left', found 0\nemitted were: page\.read"
    ):
        browser_events.wait_for("page.left", timeout_seconds=0)


def test_two_are_strangers_and_the_end_closes_the_port() -> None:
    with capture_browser() as first, capture_browser() as second:
        send(first, 1)
        assert (first.names, second.names) == (["page.read"], [])
        assert b"Tracker" in ask(first, "GET", "/tracker.js")
        assert first.snippet.count(first.url) >= 2
        assert 'data-delay="0"' in first.snippet
    with pytest.raises(ConnectionRefusedError):
        ask(first, "GET", "/tracker.js")


def test_it_needs_neither_settings_nor_disk(tmp_path: Path) -> None:
    code = "from dispatcher.testing import capture_browser\nwith capture_browser() as browser: print(browser.names)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"HOME": str(tmp_path), "DISPATCHER_SETTINGS": "/nowhere"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert list(tmp_path.iterdir()) == []
