"""Mapping: what rules in the settings make of an event, and which events they apply to."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from dispatcher.config.rules import MappingRule
from dispatcher.errors import DropEvent, UndeliverableError
from dispatcher.event import Event
from dispatcher.rules.mapping import Mapper

DATA: dict[str, Any] = {
    "course_id": "course-v1:Org+C1+R1",
    "mode": "verified",
    "percent": 0.5,
    "price": "49.90",
    "passed": True,
    "attempts": 1,
    "nothing": None,
    "grade": {"letter": "B", "note": "n"},
    "products": [{"sku": "a", "price": 1}, {"sku": "b"}],
}
CONTEXT: dict[str, Any] = {"user_id": 7, "org_id": "Org", "ip": "192.0.2.7"}


def an_event(**changes: Any) -> Event:
    fields = {
        "id": "019abcde-0000-7000-8000-000000000001",
        "name": "edx.course.enrollment.activated",
        "timestamp": datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC),
        "data": copy.deepcopy(DATA),
        "context": copy.deepcopy(CONTEXT),
    }
    return Event(**(fields | changes))


def mapped(*rules: dict[str, Any], **event: Any) -> Event:
    given = an_event(**event)
    before = copy.deepcopy(given)
    try:
        return Mapper([MappingRule.model_validate(rule) for rule in rules]).apply(given)
    finally:
        assert given == before, "the event that was given has changed"


def sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


# What a rule does


def test_a_rule_changes_name_fields_constants_and_labels() -> None:
    event = mapped(
        {
            "name": "enrolled",
            "pick": ["course_id", "mode"],
            "set": {"category": "enrolment", "label": "{data.course_id} by {context.user_id}", "non_interaction": True},
        }
    )
    assert event.name == "enrolled"
    assert event.data == {
        "course_id": "course-v1:Org+C1+R1",
        "mode": "verified",
        "category": "enrolment",
        "label": "course-v1:Org+C1+R1 by 7",
        "non_interaction": True,
    }
    assert event.context == CONTEXT
    assert (event.id, event.timestamp) == (an_event().id, an_event().timestamp)


def test_pick_reduces_only_the_objects_it_names() -> None:
    event = mapped({"pick": ["context.org_id"]})
    assert (event.data, event.context) == (DATA, {"org_id": "Org"})
    event = mapped({"pick": ["grade.letter", "products.*.sku", "context.nothing"]})
    assert event.data == {"grade": {"letter": "B"}, "products": [{"sku": "a"}, {"sku": "b"}]}
    assert event.context == {}
    assert mapped({"pick": []}).data == {}


def test_drop_removes_existing_fields() -> None:
    event = mapped({"drop": ["grade.note", "context.ip", "products.*.price", "not.there"]})
    assert event.data["grade"] == {"letter": "B"}
    assert event.data["products"] == [{"sku": "a"}, {"sku": "b"}]
    assert event.context == {"user_id": 7, "org_id": "Org"}


def test_rename_moves_values_between_data_and_context_and_may_swap_them() -> None:
    event = mapped(
        {"rename": {"mode": "course_id", "course_id": "mode", "gone": "x", "grade.letter": "context.letter"}}
    )
    assert (event.data["mode"], event.data["course_id"]) == ("course-v1:Org+C1+R1", "verified")
    assert event.data["grade"] == {"note": "n"}
    assert event.context["letter"] == "B"
    assert "x" not in event.data


def test_hash_makes_sha256_of_text_and_numbers() -> None:
    event = mapped({"hash": ["mode", "context.user_id", "passed", "nothing", "products.*.sku"]})
    assert event.data["mode"] == sha("verified")
    assert event.context["user_id"] == sha("7")
    assert (event.data["passed"], event.data["nothing"]) == (True, None)
    assert [product["sku"] for product in event.data["products"]] == [sha("a"), sha("b")]


def test_all_parts_of_a_rule_read_the_event_before_the_rule() -> None:
    event = mapped(
        {
            "hash": ["mode"],
            "drop": ["course_id"],
            "rename": {"mode": "variant"},
            "name": "{name} ({data.mode})",
            "set": {"label": "{data.course_id}", "plain": "{data.mode}"},
        }
    )
    assert event.name == "edx.course.enrollment.activated (verified)"
    assert event.data["variant"] == sha("verified")
    assert (event.data["label"], event.data["plain"]) == ("course-v1:Org+C1+R1", "verified")
    assert "course_id" not in event.data


def test_set_replaces_values_and_skips_optional_missing_ones() -> None:
    event = mapped(
        {"set": {"mode": "{data.gone?}", "grade.letter": "A", "new.deep": 1, "nothing.x": 2, "n": "{data.nothing|0}"}}
    )
    assert event.data["mode"] == "verified"
    assert event.data["grade"] == {"letter": "A", "note": "n"}
    assert (event.data["new"], event.data["nothing"], event.data["n"]) == ({"deep": 1}, {"x": 2}, "0")


def test_the_time_the_id_and_the_type_can_be_set() -> None:
    event = mapped({"set": {"at": "{timestamp}", "context.id": "{id}", "kind": "{type}"}})
    assert event.data["at"] == "2026-11-23T13:50:44.123456Z"
    assert event.context["id"] == "019abcde-0000-7000-8000-000000000001"
    assert event.data["kind"] == "event"


def test_a_set_constant_is_a_copy_of_the_settings_value() -> None:
    rules = [MappingRule.model_validate({"set": {"a": {"b": 1}}}), MappingRule.model_validate({"set": {"a.c": 2}})]
    mapper = Mapper(rules)
    assert mapper.apply(an_event()).data["a"] == {"b": 1, "c": 2}
    assert mapper.apply(an_event(data={})).data == {"a": {"b": 1, "c": 2}}
    assert rules[0].set == {"a": {"b": 1}}


# Data that is no object, and calls to Segment


@pytest.mark.parametrize(
    ("data", "expected"), [(None, {"a": 1}), ("x=1&y=2", {"data": "x=1&y=2", "a": 1}), ([1], {"data": [1], "a": 1})]
)
def test_a_field_set_on_data_other_than_an_object_keeps_the_data_beside_it(data: Any, expected: dict[str, Any]) -> None:
    assert mapped({"set": {"a": 1}}, data=data).data == expected


def test_text_data_has_no_fields() -> None:
    assert mapped({"drop": ["a"], "hash": ["b"], "rename": {"c": "d"}}, data="a=1").data == "a=1"
    assert mapped({"pick": ["a"]}, data="a=1").data == {}


def test_renaming_a_track_call_changes_segments_event_field() -> None:
    event = mapped({"name": "Order Paid"}, type="track", name="paid", data={"event": "paid", "userId": "7"})
    assert event.name == "Order Paid"
    assert event.data == {"event": "Order Paid", "userId": "7"}


# Which events a rule is for


@pytest.mark.parametrize(
    ("events", "applies"),
    [
        (None, True),
        (["edx.course.enrollment.activated"], True),
        (["edx.course.*"], True),
        (["edx.*", "!edx.course.enrollment.*"], False),
        (["shop.*"], False),
    ],
)
def test_a_rule_applies_to_its_listed_events(events: list[str] | None, applies: bool) -> None:
    assert ("x" in mapped({"events": events, "set": {"x": 1}}).data) is applies


@pytest.mark.parametrize(
    ("when", "applies"),
    [
        ({"mode": "verified"}, True),
        ({"mode": "audit"}, False),
        ({"mode": ["audit", "verified"]}, True),
        ({"data.mode": "verified", "context.org_id": "Org"}, True),
        ({"data.mode": "verified", "context.org_id": "Other"}, False),
        ({"gone": "x"}, False),
        ({"grade.letter": "B"}, True),
        ({"attempts": 1}, True),
        ({"attempts": 1.0}, True),
        ({"attempts": True}, False),
        ({"attempts": "1"}, False),
        ({"passed": True}, True),
        ({"passed": 1}, False),
        ({"passed": False}, False),
        ({"mode": {"exists": True}}, True),
        ({"mode": {"exists": False}}, False),
        ({"gone": {"exists": True}}, False),
        ({"gone": {"exists": False}}, True),
        ({"nothing": {"exists": True}}, False),
        ({"nothing": {"exists": False}}, True),
        ({"mode": {"not": "audit"}}, True),
        ({"mode": {"not": ["audit", "verified"]}}, False),
        ({"gone": {"not": "audit"}}, True),
        ({"gone": {"not": "audit", "exists": True}}, False),
        ({"passed": {"not": 1}}, True),
        ({"percent": {"at_least": 0.5}}, True),
        ({"percent": {"at_least": 0.6}}, False),
        ({"percent": {"at_most": 0.5}}, True),
        ({"percent": {"at_least": 0.1, "at_most": 0.4}}, False),
        ({"passed": {"at_least": 0}}, False),
        ({"mode": {"at_least": 0}}, False),
        ({"price": {"at_least": 49, "at_most": 50}}, True),
        ({"price": {"at_least": 50}}, False),
        ({"gone": {"at_most": 5}}, False),
        ({"mode": {"matches": "^ver"}}, True),
        ({"mode": {"matches": "^fied"}}, False),
        ({"mode": {"matches": "fied"}}, True),
        ({"attempts": {"matches": "1"}}, False),
        ({"gone": {"matches": ""}}, False),
        ({"mode": {"any_of": ["verified"], "not": "x"}}, True),
    ],
)
def test_a_rule_applies_only_if_its_conditions_hold(when: dict[str, Any], applies: bool) -> None:
    assert ("x" in mapped({"when": when, "set": {"x": 1}}).data) is applies


def test_rules_apply_in_order_to_the_previous_ones_result() -> None:
    event = mapped(
        {"set": {"step": 1}, "name": "renamed"},
        {"when": {"step": 1}, "set": {"step": 2, "was": "{name}"}},
        {"when": {"step": 1}, "set": {"wrong": True}},
        {"events": ["renamed"], "set": {"wrong": True}},
        {"events": ["edx.course.*"], "rename": {"step": "last"}},
    )
    assert event.data == DATA | {"last": 2, "was": "renamed"}


# What is left out, and what cannot be done


def test_skip_filters_its_events() -> None:
    skip = {"when": {"mode": "audit"}, "skip": True}
    assert mapped(skip).data == DATA
    with pytest.raises(DropEvent) as caught:
        mapped(skip, data={"mode": "audit"})
    assert caught.value.reason == "mapping"


@pytest.mark.parametrize("data", [{}, {"course_id": None}, "course_id=x", None])
def test_a_template_with_a_missing_field_makes_the_event_dead_with_a_remedy(data: Any) -> None:
    rule = {"set": {"label": "{data.course_id}"}}
    with pytest.raises(UndeliverableError) as caught:
        mapped({"set": {"a": 1}}, rule, data=data)
    assert caught.value.reason == "mapping"
    error = str(caught.value)
    assert error.startswith("mapping[1].set.label needs data.course_id, which this event does not have")
    for way_out in ("{data.course_id?}", "{data.course_id|something}", "`when`"):
        assert way_out in error


def test_a_template_can_make_a_number() -> None:
    rule = {"set": {"value": "{data.price|number}", "items": [{"price": "{data.price|number}"}]}}
    made = mapped(rule).data
    assert (made["value"], made["items"]) == (49.9, [{"price": 49.9}])

    with pytest.raises(UndeliverableError, match=r"set.value needs a number in data.price, which") as caught:
        mapped(rule, data={"price": "49,90"})
    assert "{data.price?|number}" in str(caught.value)
    assert "{data.price|number|something}" in str(caught.value)
    assert "49,90" not in str(caught.value)


def test_a_name_needs_its_fields_too_and_must_be_text() -> None:
    with pytest.raises(UndeliverableError, match=r"mapping\[0\]\.name needs data\.gone"):
        mapped({"name": "{data.gone}"})
    for field in ("attempts", "grade", "blank"):
        with pytest.raises(UndeliverableError, match=r"mapping\[0\]\.name makes no text"):
            mapped({"name": f"{{data.{field}}}"}, data=DATA | {"blank": " "})
    assert mapped({"name": "{data.gone?}"}).name == "edx.course.enrollment.activated"
    assert mapped({"name": "{data.gone|else}"}).name == "else"


@pytest.mark.parametrize("rule", [{"set": {"mode.x": 1}}, {"rename": {"course_id": "products.x"}}])
def test_values_are_set_inside_objects_only(rule: dict[str, Any]) -> None:
    with pytest.raises(UndeliverableError) as caught:
        mapped(rule)
    assert caught.value.reason == "mapping"
    assert "has no object there" in str(caught.value)


def test_no_error_contains_event_data() -> None:
    for rule in ({"set": {"mode.x": 1}}, {"set": {"x": "{data.mode}{data.gone}"}}, {"name": "{data.grade}"}):
        with pytest.raises(UndeliverableError) as caught:
            mapped(rule, data=DATA | {"mode": "grace@example.org", "grade": {"of": "grace@example.org"}})
        assert "grace" not in str(caught.value)
