"""Templates: what they make of an event, what happens if a field is missing, and which are refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dispatcher.templates.field_path import MISSING
from dispatcher.templates.template import AbsentFieldError, Template, filler

SCOPE = {
    "name": "shop.order.paid",
    "id": "an-id",
    "timestamp": "2026-11-23T14:31:51.401124Z",
    "type": "event",
    "data": {
        "n": 5,
        "f": 2.5,
        "yes": True,
        "no": None,
        "text": "t",
        "list": [1, "é"],
        "in": {"a": 1},
        "empty": "",
        "price": "49.90",
    },
    "context": {"org_id": "OrgX"},
}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{data.n}", 5),
        ("{data.f}", 2.5),
        ("{data.yes}", True),
        ("{data.list}", [1, "é"]),
        ("{data.in.a}", 1),
        ("{data.list.1}", "é"),
        ("{data.empty}", ""),
        ("{context.org_id}", "OrgX"),
        ("{name}", "shop.order.paid"),
        ("{id}", "an-id"),
        ("{timestamp}", "2026-11-23T14:31:51.401124Z"),
        ("{type}", "event"),
        ("{context}", {"org_id": "OrgX"}),
        ("n={data.n}", "n=5"),
        ("{data.n}{data.text}", "5t"),
        ("{data.yes}!", "true!"),
        ("<{data.list}>", '<[1,"é"]>'),
        ("{{{data.n}}}", "{5}"),
        ("{{data.n}}", "{data.n}"),
        ("a}}b", "a}b"),
        ("{data.gone?}", MISSING),
        ("{data.no?}", MISSING),
        ("{data.n?}", 5),
        ("a{data.gone?}b", "ab"),
        ("{data.gone|none}", "none"),
        ("{data.no|none}", "none"),
        ("{data.gone|}", ""),
        ("{data.gone|a|b}", "a|b"),
        ("{data.n|none}", 5),
        ("a{data.gone|-}b", "a-b"),
        ("{data.price}", "49.90"),
        ("{data.price|number}", 49.9),
        ("{data.price?|number}", 49.9),
        ("{data.n|number}", 5),
        ("{data.price|number|0}", 49.9),
        ("{data.gone|number|0}", 0),
        ("{data.text|number|-1.5}", -1.5),
        ("{data.gone?|number}", MISSING),
        ("{data.text?|number}", MISSING),
        ("{data.yes?|number}", MISSING),
        ("{data.gone|numbers}", "numbers"),
        ("{data.price|number} EUR", "49.9 EUR"),
    ],
)
def test_a_template_is_filled(text: str, made: Any) -> None:
    filled = Template(text).fill(SCOPE)
    assert filled == made
    assert type(filled) is type(made)


@pytest.mark.parametrize(
    "text", ["{data.gone}", "{data.no}", "x{data.gone}", "{data.in.b}", "{context.user_id}", "{data.text|number}"]
)
def test_a_missing_required_field_is_named(text: str) -> None:
    with pytest.raises(AbsentFieldError) as caught:
        Template(text).fill(SCOPE)
    assert caught.value.field + caught.value.filter == text.strip("x{}")


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("{course_id}", "write {data.course_id}"),
        ("{}", "write {data.course_id}"),
        ("{?}", "write {data.course_id}"),
        ("{ data.x}", "does not name a field"),
        ("{data.x", "write {{ for the character"),
        ("data.x}", "write }} for the character"),
        ("{data..x}", "write keys with a dot between them"),
        ("{data.*}", "must name one field"),
        ("{data.x?|none}", "write {data.x?} or {data.x|none}"),
        ("{data.x?|number|0}", "write {data.x?|number} or {data.x|number|0}"),
        ("{data.x|number|none}", "write 0"),
        ("{data.x|number|}", "write 0"),
        ("{Name}", "one of {name}"),
    ],
)
def test_an_invalid_template_is_refused_with_a_remedy(text: str, way_out: str) -> None:
    with pytest.raises(ValueError, match=re.escape(way_out)):
        Template(text)


def test_tables_and_lists_are_filled_at_every_depth_without_missing_fields() -> None:
    value = {"a": ["{data.n}", "{data.gone?}", 1], "b": {"c": "{data.gone?}", "{not.a.template": True}}
    assert filler(value)(SCOPE) == {"a": [5, 1], "b": {"{not.a.template": True}}


@pytest.mark.parametrize("value", [1, 2.5, True, "text", [], {}, ["a"], {"a": [{}]}])
def test_a_constant_is_made_once(value: Any) -> None:
    fill = filler(value)
    assert fill({}) == value
    assert fill({}) is fill(SCOPE)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"x", {"a": [float("-inf")]}])
def test_a_value_without_a_json_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="not a value of JSON"):
        filler(value)
