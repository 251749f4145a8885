"""One odd value of a body spoils nothing else, and how deep JSON nests is known before anything else reads it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dispatcher.intake.json_body import decode_body, nests_deeper
from dispatcher.intake.refused import Refused


def nested(levels: int, *, lists: bool) -> Any:
    value: Any = "text"
    for _ in range(levels):
        value = [1, value] if lists else {"a": None, "b": value}
    return value


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("levels", [0, 1, 2, 63, 64, 65, 900])
def test_containers_within_one_another_are_counted(levels: int, lists: bool) -> None:
    assert nests_deeper(nested(levels, lists=lists), 64) == (levels > 64)


def test_many_flat_values_are_not_deep() -> None:
    assert not nests_deeper([{"a": [1]} for _ in range(1_000)], 3)
    assert nests_deeper([{"a": [1]} for _ in range(1_000)], 2)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff", "not_json"),
        (b'["\\u12"]', "not_json"),
        (b"[" * 100_000, "too_deep"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes, code: str) -> None:
    refused = decode_body(body)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (400, code)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{"a": 1}', {"a": 1}),
        (rb'["\ud83d\ude00"]', ["\N{GRINNING FACE}"]),
        (rb'["\ud83d", 1]', ["\ufffd", 1]),
        (rb'["\ude00\ud83d\ude00"]', ["\ufffd\N{GRINNING FACE}"]),
        (rb'["\ud83d\ud83d\ude00"]', ["\ufffd\N{GRINNING FACE}"]),
        (rb'["\\ud83d", "\ud83d"]', [r"\ud83d", "\ufffd"]),
        (b'["\xff", "\xc3\xa9"]', ["\ufffd", "\xe9"]),
        (b'["a\x00\nb"]', ["a\x00\nb"]),
        (b'{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_odd_text_is_mended(body: bytes, value: object) -> None:
    assert decode_body(body) == value


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "9" * 5000, "-" + "9" * 100_000, "1e999"])
def test_odd_numbers_become_floats_that_no_event_may_have(number: str) -> None:
    odd, good = decode_body(f"[{number}, 1]".encode())
    assert good == 1
    assert not math.isfinite(odd)
