"""For which partners a line is, by edX's rules and by ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from dispatcher.exports.research_package.rules import Partner, Rules, RulesName, course_of, payload_of

NEW = "course-v1:FooX+Bar+Baz"
PARTNERS = [
    Partner(name="FooX"),
    Partner(name="Group", other_names=["FooX", "courses"]),
    Partner(name="Picky", other_names=["BarX"], courses=["course-v1:BarX+One+1"]),
]
BASE: dict[str, Any] = {
    "time": "2026-01-31T12:00:00+00:00",
    "event_source": "server",
    "event_type": "problem_check",
    "host": "lms",
    "context": {"org_id": "FooX"},
}
MFE = "https://apps.example.com/learning/course/" + NEW


def decide(record: Any, rules: RulesName = "edx", **options: Any) -> tuple[Sequence[str], str, str | None]:
    line = record if isinstance(record, bytes) else json.dumps(record).encode()
    decision = Rules(PARTNERS, rules, **options).decide(line)
    return list(decision.partners), decision.date, decision.dropped


def line(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**BASE, **changes}.items() if value is not ...}


BOTH = ["FooX", "Group"]


@pytest.mark.parametrize(
    ("record", "of_edx", "of_default"),
    [
        (line(), BOTH, BOTH),
        (line(context={"org_id": "foox"}), "organisation", "organisation"),
        (line(context={}, event_type=f"/courses/{NEW}/x"), BOTH, BOTH),
        (line(context={}, event_type="/courses/FooX/L/T"), BOTH, BOTH),
        (line(context={}, event_type="/some/courses/FooX/L/T"), ["Group"], ["Group"]),
        (line(context={}, event_type="/garbage/FooX/courses/L/T"), BOTH, BOTH),
        (line(context={}, event_type="/api/FooX"), "organisation", "organisation"),
        (line(context={}, event={"problem_id": "i4x://FooX/C/problem/P"}), BOTH, BOTH),
        (line(context={}, event={"problem_id": "block-v1:FooX+B+C"}), "organisation", "organisation"),
        (line(event_source="mobile"), BOTH, BOTH),
        (line(event_source="mobile", context={}), "organisation", "organisation"),
        (line(event_source="browser", page=f"https://c/courses/{NEW}/x"), BOTH, BOTH),
        (line(event_source="browser", page="https://c/courses/FooX/L/T"), BOTH, BOTH),
        (line(event_source="browser", page="https://c//courses/FooX/L/T"), ["Group"], ["Group"]),
        # What edX's rules of 2014 lose today.
        (line(event_source="browser", page=MFE), "organisation", BOTH),
        (line(event_source="browser", page=MFE, context={"course_id": NEW}), "organisation", BOTH),
        (line(event_source="task"), "organisation", BOTH),
        (line(event_source=...), "organisation", BOTH),
        (line(event_source="browser", page=None), "organisation", BOTH),
        (line(host=""), "host", BOTH),
        (line(host="studio.edx.org"), "host", BOTH),
        (line(host=...), BOTH, BOTH),
        (line(host="studio.example.org"), BOTH, BOTH),
        (line(context={"org_id": "FooX", "received_at": ""}), "no_time", BOTH),
        (line(context={"org_id": "FooX", "received_at": None}), "no_time", BOTH),
        (line(time=None), "no_time", "no_time"),
        (line(time=5), "no_time", "no_time"),
        (line(context=None), "organisation", "organisation"),
        (line(context="text"), "organisation", "organisation"),
        (line(context={"org_id": ["FooX"]}), "organisation", "organisation"),
        (line(event={"_export": False}), "not_for_export", "not_for_export"),
        (line(event='{"_export": "NO"}'), "not_for_export", "not_for_export"),
        (line(event={"_export": 0}), "not_for_export", "not_for_export"),
        (line(event={"_export": None}), BOTH, BOTH),
        (line(event={"_export": "off"}), BOTH, BOTH),
        (line(event=[{"_export": False}]), BOTH, BOTH),
        (line(event="a=b&_export=false"), BOTH, BOTH),
        (line(context={"org_id": "BarX", "course_id": "course-v1:BarX+One+1"}), ["Picky"], ["Picky"]),
        (line(context={"org_id": "BarX", "course_id": "course-v1:BarX+Two+1"}), "course", "course"),
        (line(context={"org_id": "BarX"}), "course", "course"),
        (line(context={"org_id": "BarX"}, event_type="/courses/course-v1:BarX+One+1/x"), ["Picky"], ["Picky"]),
        (line(context={"org_id": "BarX", "course_id": "bad"}, event_type="/courses/BarX/One/1"), "course", "course"),
    ],
    ids=str,
)
def test_who_gets_a_line(record: dict[str, Any], of_edx: Any, of_default: Any) -> None:
    for rules, wanted in (("edx", of_edx), ("default", of_default)):
        partners, _, dropped = decide(record, rules)  # type: ignore[arg-type]
        assert (dropped or partners) == wanted, rules


@pytest.mark.parametrize(
    "broken", [b"", b"5", b"[]", b"null", b"garbage", b'{"a": 1', b'{"a": 1} x', b"\xff{}\xff", b'["a"]']
)
def test_what_is_not_an_object_is_unparseable(broken: bytes) -> None:
    assert decide(broken) == ([], "", "unparseable")


def test_a_prefix_and_odd_spaces_are_taken() -> None:
    content = json.dumps(line(), indent=1).replace("\n", " ").encode()

    assert decide(b"Jan 31 12:00:00 lms [tracking] " + content + b" \n") == (BOTH, "2026-01-31", None)


def test_days_are_compared_as_text_and_by_when_it_was_received() -> None:
    late = line(context={"org_id": "FooX", "received_at": "2026-02-02T00:00:00"})

    assert decide(late)[1] == "2026-02-02"
    assert decide(late, since="2026-02-01", until="2026-02-02")[2] == "outside"
    assert decide(late, since="2026-02-02", until="2026-02-03")[2] is None
    assert decide(line(), since="2026-02-01")[2] == "outside"


def test_steps_say_where_a_line_was_dropped() -> None:
    steps: list[str] = []
    Rules(PARTNERS, "edx").decide(json.dumps(line(host="")).encode(), steps)

    assert steps == ["Its day is 2026-01-31.", 'Its host, "", is excluded.']


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        (None, None),
        ("", {}),
        ({"a": 1}, {"a": 1}),
        ('{"a": 1}', {"a": 1}),
        ("POST" + "{" * 508, None),
        ("a=b", None),
        ("not json {", None),
        ([1], None),
        (5, None),
    ],
    ids=str,
)
def test_a_payload_is_an_object_or_nothing(event: Any, wanted: Any) -> None:
    assert payload_of({"event": event}) == wanted


def test_a_course_in_the_context_wins() -> None:
    page = "https://c/courses/A/B/C"

    assert course_of({"context": {"course_id": f" {NEW} "}, "event_source": "browser", "page": page}) == NEW
    assert course_of({"context": {"course_id": ""}, "event_source": "browser", "page": page}) == "A/B/C"
    assert course_of({"context": {}, "event_source": "mobile", "page": page}) is None
    assert course_of({"context": None, "event_source": "browser", "page": page}) is None
