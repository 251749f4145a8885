"""What an event says is masked where somebody else's text quotes it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from dispatcher.secrecy.quoted_values import mask_values, values_of

DATA = {
    "who": "Ada Lovelace",
    "phone": 4930123456,
    "deep": [{"city": "München/Süd", "quote": 'say "hi" & it\'s done'}],
    "ada@example.org": True,
    "short": "abc",
    "yes": True,
    "nothing": None,
}


@pytest.mark.parametrize(
    "text",
    [
        "no such person: Ada Lovelace, really",
        f"refused: {DATA}",
        f"refused: {json.dumps(DATA)}",
        f"refused: {json.dumps(DATA, ensure_ascii=False)}",
        f"GET /x?who={quote_plus('Ada Lovelace')}&city={quote('München/Süd', safe='')}",
        "4930123456",
        "the key ada@example.org is not known",
    ],
)
def test_no_value_is_left_in_any_spelling(text: str) -> None:
    masked = mask_values(text, values_of([DATA]))

    assert "***" in masked
    for value in ("Ada", "Lovelace", "4930123456", "nchen", "S\\u00fcd", "say ", "ada@"):
        assert value not in masked, masked


def test_other_words_stay() -> None:
    assert mask_values("Segment answered 503, abc, True", values_of([DATA])) == "Segment answered 503, abc, True"


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, [[[]]], {"a": {"b": 1e400}}])
def test_any_json_value_is_taken(value: Any) -> None:
    assert mask_values("text", values_of([value])) == "text"


def test_very_many_values_are_cut() -> None:
    assert len(values_of([[f"value-{number}" for number in range(50_000)]])) <= 20_000
