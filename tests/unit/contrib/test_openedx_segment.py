"""edX's own names for calls to Segment: the same arguments, and the same messages."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dispatcher import tracker
from dispatcher.contrib.openedx import segment
from dispatcher.tasks.destinations.segment import to_message
from dispatcher.testing import Captured

TRACKING = {
    "ip": "192.0.2.7",
    "agent": "Browser/1",
    "path": "/this/is/a/path",
    "referer": "https://hostname/before",
    "client_id": "1033501218.1368477899",
    "host": "hostname",
    "session": "5e55",
    "user_id": 7,
}
STANDARD = {
    "ip": "192.0.2.7",
    "userAgent": "Browser/1",
    "page": {
        "path": "/this/is/a/path",
        "referrer": "https://hostname/before",
        "url": "https://hostname/this/is/a/path",
    },
    "Google Analytics": {"clientId": "1033501218.1368477899"},
}


def message(emitted: Captured) -> dict[str, Any]:
    (event,) = emitted.events
    found = to_message(event)
    found["context"].pop("library")
    return found


def test_the_arguments_are_the_platforms() -> None:
    assert list(inspect.signature(segment.track).parameters) == ["user_id", "event_name", "properties", "context"]
    assert list(inspect.signature(segment.identify).parameters) == ["user_id", "properties", "context"]


def test_a_call_without_a_context_has_none(emitted_events: Captured) -> None:
    segment.track(42, "edx.bi.a", {"n": 1})
    found = message(emitted_events)
    assert (found["type"], found["userId"], found["event"]) == ("track", "42", "edx.bi.a")
    assert (found["properties"], found["context"]) == ({"n": 1}, {})


def test_properties_may_be_left_out(emitted_events: Captured) -> None:
    segment.track(42, "edx.bi.a")
    assert message(emitted_events)["properties"] == {}


def test_the_tracking_context_fills_what_the_call_leaves_out(emitted_events: Captured) -> None:
    with tracker.context("edx.request", TRACKING):
        segment.track(42, "edx.bi.a", {})
    assert message(emitted_events)["context"] == STANDARD


def test_the_page_of_the_context_counts_before_host_and_path(emitted_events: Captured) -> None:
    with tracker.context("edx.request", {**TRACKING, "page": "https://hostname/this/is/a/page"}):
        segment.track(42, "edx.bi.a", {})
    assert message(emitted_events)["context"]["page"]["url"] == "https://hostname/this/is/a/page"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"ip": "198.51.100.1"}, {"ip": "198.51.100.1"}),
        ({"userAgent": "App"}, {"userAgent": "App"}),
        ({"page": {"path": "/mine"}}, {"page": {**STANDARD["page"], "path": "/mine"}}),  # type: ignore[dict-item]
        ({"Google Analytics": {"clientId": "1.2"}}, {"Google Analytics": {"clientId": "1.2"}}),
        ({"more": {"a": 1}}, {"more": {"a": 1}}),
    ],
)
def test_what_the_call_says_wins(emitted_events: Captured, given: dict[str, Any], wanted: dict[str, Any]) -> None:
    before = repr(given)
    with tracker.context("edx.request", TRACKING):
        segment.track(42, "edx.bi.a", None, given)
    assert message(emitted_events)["context"] == {**STANDARD, **wanted}
    assert repr(given) == before


def test_a_call_without_a_name_is_left_out(emitted_events: Captured) -> None:
    segment.track(42, None, {"n": 1})
    assert emitted_events.events == []


def test_who_a_user_is_says_nothing_of_the_browser(emitted_events: Captured) -> None:
    with tracker.context("edx.request", TRACKING):
        segment.identify(42, {"email": "a@example.org"}, {"active": True})
        assert tracker.get_tracker().resolve_context() == TRACKING
    found = message(emitted_events)
    assert (found["type"], found["userId"], found["traits"]) == ("identify", "42", {"email": "a@example.org"})
    assert found["context"] == {"active": True}
    assert emitted_events.events[0].context == {"session": "5e55", "user_id": 7}


def test_consent_stays_with_who_a_user_is(emitted_events: Captured) -> None:
    with tracker.context("edx.request", {**TRACKING, "consent": {"categoryPreferences": {"advertising": False}}}):
        segment.identify(42, {})
    assert message(emitted_events)["context"] == {"consent": {"categoryPreferences": {"advertising": False}}}


def test_two_lines_of_settings_put_it_in_the_platforms_place(tmp_path: Path) -> None:
    package = tmp_path / "common" / "djangoapps" / "track"
    package.mkdir(parents=True)
    for directory in (package, *package.parents[:2]):
        (directory / "__init__.py").touch()
    (package / "segment.py").write_text("raise ImportError('the platform\\'s own')\n")
    lines = (
        "import sys",
        "from dispatcher.contrib.openedx import segment",
        'sys.modules["common.djangoapps.track.segment"] = segment',
        "from common.djangoapps.track import segment as first",
        "import common.djangoapps.track.segment as second",
        "from common.djangoapps.track.segment import track",
        "assert first is second is segment and track is segment.track",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, check=True, timeout=60)
