"""The filters of event-tracking's API."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.contrib.eventtracking.exceptions import ImproperlyConfigured
from dispatcher.contrib.eventtracking.processors.exceptions import EventEmissionExit
from dispatcher.contrib.eventtracking.processors.regex_filter import RegexFilter
from dispatcher.contrib.eventtracking.processors.whitelist import NameWhitelistProcessor


def passes(processor: Any, name: str) -> bool:
    event = {"name": name}
    try:
        assert processor(event) is event
    except EventEmissionExit:
        return False
    return True


def test_a_whitelist_lets_whole_names_through() -> None:
    listed = NameWhitelistProcessor(whitelist=("edx.a", "edx.b"), unknown=1)
    assert [passes(listed, name) for name in ("edx.a", "edx.b", "edx.a.more", "edx")] == [True, True, False, False]
    assert not passes(NameWhitelistProcessor([]), "edx.a")
    assert listed([{"name": "edx.a"}, {"name": "edx.c"}]) == [{"name": "edx.a"}]


@pytest.mark.parametrize("whitelist", [None, "edx.a", 10])
def test_a_whitelist_is_a_list(whitelist: Any) -> None:
    with pytest.raises(TypeError, match=f"as whitelist, a list of texts, not {type(whitelist).__name__}"):
        NameWhitelistProcessor(whitelist)


@pytest.mark.parametrize(
    ("kind", "patterns", "through"),
    [
        ("allowlist", ["edx.a", "b"], [True, True, True, False]),
        ("allowlist", ["edx.a$"], [True, False, False, False]),
        ("blocklist", ["edx.a", "b"], [False, False, False, True]),
        ("allowlist", None, [False] * 4),
        ("blocklist", None, [True] * 4),
    ],
)
def test_patterns_are_compared_with_the_start_of_a_name(kind: str, patterns: Any, through: list[bool]) -> None:
    filtering = RegexFilter(kind, patterns)
    assert [passes(filtering, name) for name in ("edx.a", "edx.a.more", "b.c", "c.b")] == through


def test_wrong_patterns_are_all_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'\(' \(missing.*, '\*' \(nothing to repeat\)"):
        RegexFilter(regular_expressions=["(", "a", "*"])


def test_another_type_of_filter_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match='must be "allowlist" or "blocklist", not \'greylist\''):
        RegexFilter("greylist", [])
