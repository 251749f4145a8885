"""The pages on rules are true: every TOML example loads, and does what the page says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from dispatcher import config
from dispatcher.config import Settings
from dispatcher.destinations.options import check_options
from dispatcher.event import Event
from dispatcher.rules.rules import Rules
from dispatcher.tasks.destinations.segment import to_message

HOW_TO: Final = Path(__file__).resolve().parents[3] / "docs" / "how-to"
MAPPING: Final = HOW_TO / "mapping.md"
CONSENT: Final = HOW_TO / "consent-and-privacy.md"

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(page.read_text()) if kind == language]


EXAMPLES: Final = [
    pytest.param(text, id=f"{page.stem}-{number}")
    for page in (MAPPING, CONSENT)
    for number, text in enumerate(blocks(page, "toml"))
]


def loaded(directory: Path, text: str) -> Settings:
    directory.joinpath("base.toml").write_text(text)
    directory.joinpath("development.toml").write_text("")
    return config.load({"HOME": str(directory), "DISPATCHER_SETTINGS": str(directory)})


def ruled(settings: Settings, destination: str, event: Event) -> Event:
    rules = Rules.of(settings.destinations[destination], integration=None, advertising=False)
    assert rules is not None
    return rules.apply(event)


def enrolment(**data: Any) -> Event:
    return Event(
        id="019abcde-0000-7000-8000-000000000001",
        name="edx.course.enrollment.activated",
        timestamp=datetime(2026, 11, 23, tzinfo=UTC),
        data={"course_id": "course-v1:Org+C1+R1", "mode": "verified", "username": "ada"} | data,
        context={"user_id": 7},
    )


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_can_be_used(tmp_path: Path, text: str) -> None:
    assert check_options(loaded(tmp_path, text)) == []


def test_both_pages_have_examples() -> None:
    assert len(EXAMPLES) >= 7


def test_the_first_example_gives_what_the_page_shows(tmp_path: Path) -> None:
    settings = loaded(tmp_path, blocks(MAPPING, "toml")[0])
    event = ruled(settings, "google_analytics", enrolment())
    assert event.name == "enrolled"
    assert event.data == json.loads(blocks(MAPPING, "json")[0])


@pytest.mark.parametrize(("said", "value"), [({}, {}), ({"amount": 49}, {"value": 49})])
def test_labels_and_integrations_for_google_analytics_reach_segment(
    tmp_path: Path, said: dict[str, Any], value: dict[str, Any]
) -> None:
    (text,) = [text for text in blocks(MAPPING, "toml") if "context.integrations" in text]
    settings = loaded(tmp_path, text)
    properties = settings.destinations["segment"].options["properties"]
    message = to_message(ruled(settings, "segment", enrolment(**said)), properties=properties)
    assert message["properties"] == {
        "course_id": "course-v1:Org+C1+R1",
        "mode": "verified",
        "username": "ada",
        "category": "enrolment",
        "label": "course-v1:Org+C1+R1",
        **said,
        **value,
    }
    assert message["integrations"] == {"All": False, "Google Analytics 4": True}
