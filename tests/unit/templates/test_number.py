"""Numbers: which values are amounts, and what becomes of those that are none."""

from __future__ import annotations

import copy
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.event import encode
from dispatcher.templates.number import MAX_NUMBER, may_have_huge_number, tame_numbers, to_number, with_numbers
from dispatcher.wire import encode_json


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("49.90", 49.9),
        (" 49.90 ", 49.9),
        ("7", 7),
        ("-5", -5),
        ("1E+2", 100.0),
        ("0E-10", 0.0),
        ("-0", 0),
        ("-0.00", 0.0),
        (-0.0, 0.0),
        (0, 0),
        (12.5, 12.5),
        (MAX_NUMBER, MAX_NUMBER),
        (str(MAX_NUMBER), MAX_NUMBER),
    ],
)
def test_a_number_or_the_text_of_one_is_a_number(value: object, number: float) -> None:
    found = to_number(value)

    assert found == number
    assert type(found) is type(number)
    assert found is not None
    assert math.copysign(1, found) == math.copysign(1, number)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, [], {}, b"1", Decimal(1)),
        *("", " ", "NaN", "Infinity", "-inf", "1e400", "1E+9999", "1,234.50", "49,90", "1_000", "49.90 EUR", "€5"),
        *("0x10", "007", "+5", ".5", "5.", "- 5", "1\u00a0000", "٤٩", "½", "1" * 30, "1" * 5000, "0." + "1" * 100),
        *(10**400, -(10**400), 2**63, 1e300, math.inf, math.nan),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_somebody_reads_as_another_number_is_none(value: object) -> None:
    assert to_number(value) is None


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15))
def test_every_decimal_of_money_is_the_same_number(amount: Decimal) -> None:
    text = json.loads(encode_json(amount))

    assert to_number(text) == float(amount) or len(text) > 64


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.text(alphabet="0123456789.eE+-_, ")))
def test_any_value_is_a_number_that_json_holds_or_none(value: object) -> None:
    number = to_number(value)

    assert number is None or json.loads(json.dumps(number, allow_nan=False)) == number


def test_amounts_become_numbers_and_the_rest_stays() -> None:
    fields = {"value": "1.5", "note": "2.5", "tax": "a", "items": [{"price": "3", "id": "4"}, "5", None], "list": ["6"]}
    before = copy.deepcopy(fields)

    made = with_numbers(fields, {"value", "tax"}, {"items": {"price"}, "list": {"price"}, "gone": {"price"}})

    assert made == {
        "value": 1.5,
        "note": "2.5",
        "tax": "a",
        "items": [{"price": 3, "id": "4"}, "5", None],
        "list": ["6"],
    }
    assert list(made) == list(fields)
    assert fields == before


@pytest.mark.parametrize("before", range(0, 130, 7))
def test_numbers_that_no_double_holds_are_found_and_become_text(before: int) -> None:
    value = {"a": "x" * before, "b": [10**400, -(10**309), 10**308, 2**1024, 2**1023, 1.5, True]}

    assert may_have_huge_number(encode_json(value))
    assert tame_numbers(value) == {
        "a": "x" * before,
        "b": [str(10**400), str(-(10**309)), 10**308, str(2**1024), 2**1023, 1.5, True],
    }


def test_an_ordinary_payload_has_no_huge_number() -> None:
    event: Any = {"id": "0193a1c2-7b1e-7000-8000-000000000001", "data": {"n": list(range(60)), "t": "abcdef " * 200}}

    assert not may_have_huge_number(encode(event))
