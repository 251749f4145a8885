"""Texts that could make a regular expression slow: repetitions that it matches, with an end that it does not match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations
from re import _constants as sre  # type: ignore[attr-defined]  # how Python itself reads an expression
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

# Characters that an attacker may repeat: those that most expressions match.
_CHARACTERS = "a0 .@/:"
_ENDS = ("", "\0", "\n")
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, getattr(sre, "POSSESSIVE_REPEAT", None))


def hostile_texts(pattern: re.Pattern[Any], characters: int) -> Iterator[str]:
    """Texts of about this many characters, made for this expression."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    parsed = list(parser.parse(source, pattern.flags & re.VERBOSE))
    pumps = list(dict.fromkeys(_pumps(parsed, "")))
    # Repeated beginnings of a match, for expressions that are searched anywhere in a text.
    pumps += [("", sample) for count in range(1, len(parsed) + 1) if (sample := _sample(parsed[:count]))]
    pumps += [("", one) for one in dict.fromkeys(_CHARACTERS + "".join(re.findall(r"\W", source)))]
    pumps += [("", one + other) for one, other in permutations(_CHARACTERS, 2)]
    for before, pump in pumps:
        for end in _ENDS:
            yield before + pump * (characters // len(pump)) + end


def _pumps(nodes: Any, before: str) -> Iterator[tuple[str, str]]:
    """For each unbounded repetition: a text that matches before it, and a text that it repeats."""
    for kind, value in nodes:
        for inner in _inside(kind, value):
            yield from _pumps(inner, before)
        if kind in _REPEATS and value[1] > 100 and (sample := _sample(value[2])):
            yield before, sample
        before += _sample([(kind, value)])


def _inside(kind: Any, value: Any) -> list[Any]:
    if kind in _REPEATS:
        return [value[2]]
    if kind is sre.BRANCH:
        return list(value[1])
    if kind is sre.SUBPATTERN:
        return [value[3]]
    if kind is getattr(sre, "ATOMIC_GROUP", None):
        return [value]
    return []


def _sample(nodes: Any) -> str:
    """A text that these nodes match, or nearly match."""
    return "".join(_one(kind, value) for kind, value in nodes)


def _one(kind: Any, value: Any) -> str:
    if kind is sre.LITERAL:
        return chr(value)
    if kind is sre.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if kind is sre.ANY:
        return "a"
    if kind is sre.IN:
        return _member(value)
    if kind in _REPEATS:
        return _sample(value[2]) * max(1, value[0])
    inside = _inside(kind, value)
    return _sample(inside[0]) if inside else ""


def _member(items: Any) -> str:
    negated = items[0][0] is sre.NEGATE
    return next((one for one in _candidates(items) if any(_is(one, item) for item in items) is not negated), "a")


def _candidates(items: Any) -> Iterator[str]:
    for kind, value in items:
        if kind in (sre.LITERAL, sre.RANGE):
            yield chr(value if kind is sre.LITERAL else value[0])
    yield from "a0 .-_@\n\0"


def _is(one: str, item: Any) -> bool:
    kind, value = item
    if kind is sre.LITERAL:
        return ord(one) == value
    if kind is sre.RANGE:
        return bool(value[0] <= ord(one) <= value[1])
    if kind is sre.CATEGORY:
        letter = str(value).rpartition("_")[2][0].lower()
        return re.match(f"\\{letter.upper() if '_NOT_' in str(value) else letter}", one) is not None
    return False
