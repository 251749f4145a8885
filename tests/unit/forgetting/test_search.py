"""The lines that name a person are found by their bytes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.forgetting import Person
from dispatcher.forgetting.search import LineSearch

ADA = Person(user_ids=("42",), usernames=("ada",), emails=("Ada+x@Example.org", "é@example.org"))

ADDRESSES = ["ada+x@example.org", "ADA+X@EXAMPLE.ORG", "é@example.org", "é@EXAMPLE.org", "da+x@example.org"]
TEXTS = st.one_of(
    st.sampled_from(["42", "ada", "nada", "ada_2", "@", "%40", "https://x.example/u/42", *ADDRESSES]),
    st.sampled_from(ADDRESSES).map(lambda address: "/q?to=" + quote(address)),
    st.sampled_from(ADDRESSES).map(lambda address: json.dumps({"to": f"write to {address}, now"})),
    st.text(max_size=5),
)
VALUES = st.one_of(TEXTS, st.sampled_from([42, 421, 4.2, None]), st.lists(TEXTS, max_size=3))


def lines_of(values: list[Any], *, ascii_only: bool) -> list[bytes]:
    return [json.dumps({"event": value}, ensure_ascii=ascii_only).encode(errors="replace") + b"\n" for value in values]


@given(st.lists(VALUES, min_size=1, max_size=8), st.booleans())
def test_the_lines_that_are_found_are_those_that_name_the_person(values: list[Any], ascii_only: bool) -> None:
    lines = lines_of(values, ascii_only=ascii_only)
    block = b"".join(lines)
    found = [block[first:last] for first, last in LineSearch(ADA).find(block)]
    assert found == [line for line in lines if ADA.is_named_in(json.loads(line))]


@pytest.mark.parametrize("address", ADDRESSES[:2])
def test_an_address_is_found_in_large_and_small_letters(address: str) -> None:
    for form in (address, address.replace("@", "%40"), address.replace("+", "%2b").replace("@", "%40")):
        block = b'{"event": "nothing"}\n{"event": "/q?to=%b"}\n' % form.encode()
        assert len(LineSearch(ADA).find(block)) == 1, form


def test_what_stands_behind_the_last_whole_line_is_not_looked_through() -> None:
    block = b'{"event": "bob"}\n{"username": "ada", "to": "ada+x@example.org"}'
    assert LineSearch(ADA).find(block, block.index(b"\n") + 1) == []
    assert len(LineSearch(ADA).find(block)) == 1
