"""Diagnosis: which value cannot be encoded, its place, and the remedy."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emit.diagnosis import MAX_DEPTH, Problem, describe, diagnose, holds_non_finite
from tests.support.broken import Broken

NAN, INFINITY = float("nan"), float("inf")


class Order:
    def __repr__(self) -> str:
        return "<Order 17, which took a query>"


@dataclass
class Point:
    x: object


class Real(float):
    """As numpy's float64 is."""


class Odd(enum.Enum):
    NAN = NAN
    OBJECT = Order()


class Silent:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def own_parent() -> dict[str, Any]:
    value: dict[str, Any] = {"children": []}
    value["children"].append(value)
    return value


PROBLEMS = [
    (Order(), "data is an Order: Encoding objects of type Order is unsupported; pass str(value), its id"),
    ({"a": {"b": [1, Order()]}}, "data['a']['b'][1] is an Order"),
    ({"a": (1, {2: Order()})}, "data['a'][1][2] is an Order"),
    ({"a": NAN}, "data['a'] is nan, which JSON has no number for; pass None, or leave the key out"),
    ({"a": [0.5, -INFINITY]}, "data['a'][1] is -inf"),
    ({"a": Real("inf")}, "data['a'] is inf"),
    ({"a": {NAN}}, "data['a'] is a set with NaN or infinity in it"),
    ({"a": Point(NAN)}, "with NaN or infinity in it"),
    ({"a": Odd.NAN}, "data['a'] is an Odd with NaN or infinity in it"),
    ({"a": Odd.OBJECT}, "data['a'] is an Odd: Encoding objects of type Order"),
    (
        {"a": {Order()}},
        "data['a'] is a set: Encoding objects of type Order is unsupported; pass a sor",
    ),
    ({"a": 10**5000}, "data['a'] is an int: Exceeds the limit"),
    ({("a", 1): 2}, "the key <a tuple> of data is a tuple; keys must be strings: pass str(key)"),
    ({None: 2}, "the key <a NoneType> of data is a NoneType; keys must be strings"),
    ({"a": {b"\xff": {frozenset(): 2}}}, "is a frozenset; keys must be strings"),
    ({"a": "x\udc80"}, "data['a'] holds the lone surrogate \\udc80 at character 1; decode the text properly"),
    ({"x\ud800": 1}, "the key <a str of 2 characters> of data holds the lone surrogate \\ud800 at character 1"),
    ({"a": MappingProxyType({})}, "data['a'] is a mappingproxy, not a dict; pass dict(value)"),
    ({"a": Broken()}, "data['a'] is a Broken, not a dict; pass dict(value)"),
    (own_parent(), "data['children'][0] contains itself; pass the ids of the things, not the things"),
    (nested(10_000), f"is nested more than {MAX_DEPTH} levels deep; flatten it"),
]


@pytest.mark.parametrize(("value", "words"), PROBLEMS, ids=[words[:50] for _, words in PROBLEMS])
def test_the_value_the_place_and_the_remedy_are_named(value: object, words: str) -> None:
    assert words in str(diagnose("data", value))


@pytest.mark.parametrize(
    "value",
    [{}, {"a": [1, None, "ä", 0.5, (True,)]}, {"a": {"b": nested(100)}}, {1: Decimal("1.1"), "s": {True: {1}}}],
    ids=str,
)
def test_an_encodable_value_has_no_problem(value: object) -> None:
    assert diagnose("data", value) is None


def test_the_first_of_many_problems_is_named() -> None:
    assert str(diagnose("data", {"a": 1, "b": [NAN, Order()], "c": Order()})).startswith("data['b'][0] is nan")


def test_the_same_object_twice_is_not_a_cycle() -> None:
    shared = {"id": 1}
    assert diagnose("data", {"a": shared, "b": [shared, shared]}) is None


def test_a_long_key_is_shortened_in_the_path() -> None:
    assert len(str(diagnose("data", {"k" * 10_000: {"x": Order()}}))) < 400


def test_a_value_that_raises_during_inspection_is_a_problem_of_its_own() -> None:
    class Shy(Broken):
        def __iter__(self) -> Iterator[str]:
            raise RuntimeError("no \udc80")

    assert diagnose("data", {"a": Shy()}) == Problem(
        "data",
        "cannot be examined: RuntimeError",
        "pass plain dicts and lists that nothing changes meanwhile",
    )


@pytest.mark.parametrize(
    "value",
    [NAN, [INFINITY], {"a": -INFINITY}, {"a": (1, [NAN])}, {NAN}, frozenset([NAN]), Point([NAN]), Odd.NAN, Real("nan")],
    ids=repr,
)
def test_a_non_finite_number_is_found_anywhere(value: object) -> None:
    assert holds_non_finite(value)


@pytest.mark.parametrize(
    "value",
    [None, {"a": None}, [1.5, "nan"], {1, 2.5}, Point("x"), Decimal("NaN"), msgspec.Raw(b"null")],
    ids=["None", "None in a dict", "text", "set", "dataclass", "Decimal", "Raw"],
)
def test_other_nulls_are_not_non_finite_numbers(value: object) -> None:
    assert not holds_non_finite(value)


def test_a_description_is_pythons_repr() -> None:
    assert describe({"order": 17, "items": ["a", ("b",)]}) == "{'items': ['a', ('b',)], 'order': 17}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Silent(), "<Silent>"),
        ({"a": Silent()}, "{'a': <Silent>}"),
        (10**5000, "<int whose repr raised ValueError>"),
        ("\udc80", "'\\udc80'"),
    ],
    ids=["raises", "holds one that raises", "too many digits", "surrogate"],
)
def test_values_without_a_repr_are_described_too(value: object, text: str) -> None:
    assert describe(value).startswith(text)


@pytest.mark.parametrize("width", [2, 200])
def test_a_value_that_contains_itself_many_times_is_described_quickly(width: int) -> None:
    value: dict[int, Any] = {}
    value.update(dict.fromkeys(range(width), value))
    text = describe(value)
    assert len(text) <= 65_536
    # Shown to its full depth it would take longer than the machine lasts.


@pytest.mark.parametrize(
    "value", [nested(10_000), ["x" * 10_000_000], list(range(1_000_000)), {"k": b"x" * 10_000_000}]
)
def test_a_large_value_has_a_short_description(value: object) -> None:
    assert len(describe(value)) < 10_000


ANYTHING = st.recursive(
    st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Silent) | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner) | st.tuples(inner),
)


@settings(max_examples=50)
@given(value=ANYTHING, limit=st.integers(1, 100))
def test_every_description_keeps_its_limit_and_can_be_encoded(value: object, limit: int) -> None:
    assert len(describe(value, limit=limit).encode()) <= 10 * limit
    msgspec.json.encode(describe(value, limit=limit))


@settings(max_examples=50)
@given(value=ANYTHING)
def test_a_problem_is_found_where_encoding_fails_and_only_there(value: object) -> None:
    try:
        fails = msgspec.json.encode(value) is None or holds_non_finite(value)
    except Exception:
        fails = True
    assert (diagnose("data", value) is not None) == fails
