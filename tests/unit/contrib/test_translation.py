"""From the tracking settings of Open edX to ours. What is written is read by our own settings, and has no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dispatcher import config
from dispatcher.contrib.openedx.translation import translate
from dispatcher.destinations.options import check_options
from tests.support.openedx_site import before

SECRETS = {"LMS_SEGMENT_KEY": "the-write-key", "TRACKING_SEGMENTIO_WEBHOOK_SECRET": "the-webhook-secret"}
PLATFORM: dict[str, Any] = {
    **{name: value for name, value in vars(before).items() if name.isupper()},
    **SECRETS,
    "EVENT_TRACKING_SEGMENTIO_EMIT_WHITELIST": ["edx.bi.more", "edx.bi.clicked"],
    "TRACKING_SEGMENTIO_ALLOWED_TYPES": ["track"],
    "TRACKING_SEGMENTIO_DISALLOWED_SUBSTRING_NAMES": [".bi."],
    "TRACKING_SEGMENTIO_SOURCE_MAP": {"analytics-android": "mobile", "analytics-ios": "mobile"},
    "TRACKING_IGNORE_URL_PATTERNS": [r"^/event"],
}


def load(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> config.Settings:
    file = tmp_path / "site.toml"
    file.write_text(text)
    monkeypatch.setenv("DISPATCHER_SETTINGS", str(file))
    settings = config.load()
    assert check_options(settings) == []
    return settings


def filtered(*processors: dict[str, Any]) -> dict[str, Any]:
    logger = {"ENGINE": "eventtracking.backends.logger.LoggerBackend", "OPTIONS": {"max_event_size": None}}
    options = {"backends": {"logger": logger}, "processors": list(processors)}
    return {"logs": {"ENGINE": "eventtracking.backends.async_routing.AsyncRoutingBackend", "OPTIONS": options}}


def regex(patterns: list[str], filter_type: str = "allowlist") -> dict[str, Any]:
    options = {"filter_type": filter_type, "regular_expressions": patterns}
    return {"ENGINE": "eventtracking.processors.regex_filter.RegexFilter", "OPTIONS": options}


def test_the_platforms_own_settings_are_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = translate(PLATFORM)
    text = found.to_toml()
    settings = load(text, tmp_path, monkeypatch)
    segment = settings.destinations["segment"]
    assert segment.events == ("edx.course.enrollment.activated", "edx.bi.clicked", "edx.bi.more")
    assert settings.collector.mobile_disallowed_names == (".bi.",)
    assert found.environment == {
        "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": "LMS_SEGMENT_KEY",
        "DISPATCHER_COLLECTOR__MOBILE_SECRET": "TRACKING_SEGMENTIO_WEBHOOK_SECRET",
    }
    assert not any(secret in text + "".join(found.notes) for secret in SECRETS.values())
    assert any("more than 50000 characters were dropped" in note for note in found.notes)
    assert any("TRACKING_IGNORE_URL_PATTERNS" in note for note in found.notes)
    assert any("put dispatcher.contrib.openedx.segment in its place" in note for note in found.notes)


@pytest.mark.parametrize(
    ("processors", "events"),
    [
        ([regex([r"^edx\.course\..*", r"^edx\.grades\.", r"^edx\.video\.played$"])],
         ["edx.course.*", "edx.grades.*", "edx.video.played"]),
        ([regex([r"edx\.bi\."], "blocklist")], ["*", "!edx.bi.*"]),
        ([], None),
    ],
)  # fmt: skip
def test_patterns_that_are_names_become_an_allowlist(
    processors: list[dict[str, Any]], events: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = translate({"EVENT_TRACKING_BACKENDS": filtered(*processors)})
    assert found.destinations["tracking_log"].get("events") == events
    load(found.to_toml(), tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "EVENT_TRACKING_BACKENDS is empty"),
        ({"EVENT_TRACKING_BACKENDS": 7}, "EVENT_TRACKING_BACKENDS is empty"),
        ({"EVENT_TRACKING_BACKENDS": {"a": 7}}, "must be a dict with an ENGINE, not int"),
        ({"EVENT_TRACKING_BACKENDS": {"m": {"ENGINE": "x.MongoBackend"}}}, "MongoBackend has no destination here"),
        ({"EVENT_TRACKING_BACKENDS": filtered(regex([r"^edx\.(course|bi)\."]))}, "patterns that say more"),
        ({"EVENT_TRACKING_BACKENDS": filtered({"ENGINE": "shop.Own"})}, "the processor Own"),
        ({"EVENT_TRACKING_ENABLED": False}, "EVENT_TRACKING_ENABLED is False"),
        ({"EVENT_TRACKING_PROCESSORS": [{"ENGINE": "x"}]}, "EVENT_TRACKING_PROCESSORS"),
        ({"EVENT_TRACKING_SEGMENTIO_EMIT_WHITELIST": ["a"]}, "no write key of Segment"),
        ({"TRACKING_SEGMENTIO_SOURCE_MAP": {"x": "tablet"}}, 'always "mobile"'),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_over_is_said(settings: dict[str, Any], words: str) -> None:
    assert any(words in note for note in translate(settings).notes), translate(settings).notes
