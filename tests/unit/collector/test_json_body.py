"""How deep JSON nests is known before anything else reads it."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.collector.json_body import decode_body, nests_deeper
from dispatcher.collector.route import Refused


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
        (b"[NaN]", "not_json"),
        (b'"\xff"', "not_json"),
        (b"[" * 100_000, "too_deep"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes, code: str) -> None:
    refused = decode_body(body)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (400, code)
