"""Field paths: what they name, and that every change makes a copy."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dispatcher.templates.field_path import (
    MISSING,
    BlockedFieldError,
    change_at,
    field_path,
    find_nested,
    keep_only,
    put,
    read,
)

TREE: dict[str, Any] = {
    "data": {"a": {"b": 1, "c": None}, "list": [{"x": 1, "y": 2}, {"x": 3}], "1": "one", "text": "t"},
    "context": {"user_id": 7},
}


def none(_: object) -> object:
    return MISSING


def path(text: str) -> tuple[str, ...]:
    return field_path(text, many=True)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("course_id", ("data", "course_id")),
        ("data.course_id", ("data", "course_id")),
        ("context.user_id", ("context", "user_id")),
        ("data.data", ("data", "data")),
        ("contextual.x", ("data", "contextual", "x")),
        ("traits.First Name", ("data", "traits", "First Name")),
    ],
)
def test_a_path_is_within_data_by_default(text: str, parts: tuple[str, ...]) -> None:
    assert field_path(text) == parts


@pytest.mark.parametrize("text", ["", "data", "context", "data.", ".a", "a..b", " a", "a. b", "{a}", "a.*", "*"])
def test_a_path_that_does_not_name_one_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|\*"):
        field_path(text)


@pytest.mark.parametrize("text", ["a.*", "*", "context.*", "a.*.b"])
def test_a_star_is_allowed_if_several_fields_are(text: str) -> None:
    assert field_path(text, many=True)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("a.b", 1),
        ("a.c", None),
        ("a.d", MISSING),
        ("a.b.c", MISSING),
        ("list.1.x", 3),
        ("list.2.x", MISSING),
        ("list.-1.x", MISSING),
        ("list.x", MISSING),
        ("list.99999999999999999999", MISSING),
        ("list.²", MISSING),
        ("1", "one"),
        ("text.0", MISSING),
        ("context.user_id", 7),
    ],
)
def test_the_value_at_a_path_is_read(where: str, found: object) -> None:
    assert read(TREE, path(where)) == found


@pytest.mark.parametrize(
    ("where", "data"),
    [
        ("a.b", {"a": {"c": None}}),
        ("a", {"a": MISSING}),
        ("list.0", {"list": [{"x": 3}]}),
        ("list.*.x", {"list": [{"y": 2}, {}]}),
        ("a.*", {"a": {}}),
        ("text.x", {}),
        ("nothing.x", {}),
    ],
)
def test_a_removed_field_is_gone_and_the_rest_stays(where: str, data: dict[str, Any]) -> None:
    before = copy.deepcopy(TREE)
    after = change_at(TREE, path(where), none)
    expected = {key: value for key, value in (TREE["data"] | data).items() if value is not MISSING}
    assert after == {"data": expected, "context": {"user_id": 7}}
    assert before == TREE


def test_unchanged_parts_are_the_same_objects() -> None:
    assert change_at(TREE, path("nothing"), none) is TREE
    assert change_at(TREE, path("a.b"), lambda value: value) is TREE
    after = change_at(TREE, path("a.b"), lambda _: 2)
    assert after["data"]["list"] is TREE["data"]["list"]
    assert after["context"] is TREE["context"]


def test_every_item_and_key_can_be_changed_at_once() -> None:
    assert change_at({"l": [1, 2]}, ("l", "*"), str) == {"l": ["1", "2"]}
    assert change_at({"d": {"a": 1, "b": 2}}, ("d", "*"), str) == {"d": {"a": "1", "b": "2"}}


def test_missing_objects_on_a_path_are_created() -> None:
    assert put({}, ("a", "b", "c"), 1) == {"a": {"b": {"c": 1}}}
    assert put({"a": None}, ("a", "b"), 1) == {"a": {"b": 1}}
    assert put({"a": {"x": 0}}, ("a", "b"), 1) == {"a": {"x": 0, "b": 1}}


@pytest.mark.parametrize("value", ["text", 5, [1], True])
def test_nothing_is_set_below_a_value_other_than_an_object(value: Any) -> None:
    with pytest.raises(BlockedFieldError):
        put({"a": value}, ("a", "b"), 1)


def test_setting_does_not_change_the_original() -> None:
    before = copy.deepcopy(TREE)
    after = put(TREE, ("data", "a", "new"), 1)
    assert before == TREE
    assert after["data"]["list"] is TREE["data"]["list"]


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        (["a.b"], {"a": {"b": 1}}),
        (["a", "text"], {"a": {"b": 1, "c": None}, "text": "t"}),
        (["list.*.x"], {"list": [{"x": 1}, {"x": 3}]}),
        (["list.1"], {"list": [{"x": 3}]}),
        (["list.*.y", "list.1.x"], {"list": [{"y": 2}, {"x": 3}]}),
        (["a.b.c"], MISSING),
        (["nothing"], MISSING),
        (["a.b", "a"], {"a": {"b": 1, "c": None}}),
        ([], MISSING),
    ],
)
def test_only_named_fields_are_kept(paths: list[str], kept: object) -> None:
    assert keep_only(TREE["data"], [path(one)[1:] for one in paths]) == kept


def test_a_path_inside_another_one_is_found() -> None:
    assert find_nested([("data", "a"), ("data", "a", "b")]) == ("data", "a", "b")
    assert find_nested([("data", "a"), ("data", "ab")]) is None
