"""Why a value cannot be encoded: where it stands, what it is, and the way out. Runs only once encoding has failed."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

#: What msgspec raises for what it cannot encode: an unknown type, a lone surrogate, a number out of range, a cycle.
ENCODING_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)

#: Nesting that no real event reaches, and that the workers' decoders still take with room to spare.
MAX_DEPTH: Final = 200

_encoder = msgspec.json.Encoder()

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
_long = reprlib.Repr()
_long.maxlevel = 20
_long.maxdict = _long.maxlist = _long.maxtuple = _long.maxset = _long.maxfrozenset = 200
_long.maxstring = _long.maxother = 4096


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that cannot be encoded. ``path`` is written as Python would, such as ``data['users'][3]``."""

    path: str
    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}; {self.way_out}"


def diagnose(root: str, value: object) -> Problem | None:
    """The first thing in ``value`` that has no JSON form, or None. ``root`` is what the value itself is called."""
    for path, item, parents in _walk(root, value):
        problem = _examine(path, item, parents)
        if problem is not None:
            return problem
    return None


def find_non_finite(value: object) -> str | None:
    """The path of the first NaN or infinity in a value that can be encoded, or None."""
    todo: list[tuple[str, object]] = [("", value)]
    while todo:
        path, item = todo.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return path
        elif isinstance(item, Mapping | list | tuple):
            todo.extend(_children(path, item))
    return None


def describe(value: object, *, limit: int = 65_536) -> str:
    """A bounded text of any value, for a dead letter. Never raises."""
    try:
        text = _long.repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text[:limit].encode("utf-8", "backslashreplace").decode()


def _walk(root: str, value: object) -> Iterator[tuple[str, object, frozenset[int]]]:
    # By hand and not by recursion: what is looked at here may be ten thousand levels deep.
    todo: list[tuple[str, object, frozenset[int]]] = [(root, value, frozenset())]
    while todo:
        path, item, parents = todo.pop()
        yield path, item, parents
        if id(item) in parents or len(parents) > MAX_DEPTH:
            continue
        if isinstance(item, Mapping | list | tuple):
            inside = parents | {id(item)}
            todo.extend((child_path, child, inside) for child_path, child in _children(path, item))


def _children(path: str, item: Mapping[Any, Any] | list[Any] | tuple[Any, ...]) -> list[tuple[str, object]]:
    # Last first, as they are taken from the end of a list.
    pairs = item.items() if isinstance(item, Mapping) else enumerate(item)
    return [(f"{path}[{_short.repr(key)}]", child) for key, child in reversed(list(pairs))]


def _examine(path: str, item: object, parents: frozenset[int]) -> Problem | None:  # noqa: PLR0911 - one return a case
    if id(item) in parents:
        return Problem(path, "contains itself", "pass the ids of the things, not the things")
    if len(parents) > MAX_DEPTH:
        return Problem(path, f"is nested more than {MAX_DEPTH} levels deep", "flatten it")
    if isinstance(item, Mapping):
        return _examine_keys(path, item)
    if isinstance(item, list | tuple):
        return None
    if isinstance(item, float) and not math.isfinite(item):
        return Problem(path, f"is {item}, which JSON has no number for", "pass None, or leave the key out")
    if isinstance(item, str):
        return _examine_text(path, item)
    try:
        _encoder.encode(item)
    except ENCODING_ERRORS as error:
        return Problem(path, f"is {_a(item)} ({_safe(item)}): {error}", _way_out(item))
    return None


def _examine_keys(path: str, item: Mapping[Any, Any]) -> Problem | None:
    for key in item:
        if isinstance(key, str):
            problem = _examine_text(f"the key {_safe(key)} of {path}", key)
            if problem is not None:
                return problem
            continue
        try:
            _encoder.encode({key: None})
        except ENCODING_ERRORS:
            return Problem(f"the key {_safe(key)} of {path}", f"is {_a(key)}", "keys must be strings: pass str(key)")
    if not isinstance(item, dict):
        return Problem(path, f"is {_a(item)}, not a dict", "pass dict(value)")
    return None


def _examine_text(path: str, text: str) -> Problem | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        lone = f"\\u{ord(text[error.start]):04x}"
        return Problem(
            path,
            f"holds the lone surrogate {lone} at character {error.start}",
            "decode the text properly, or pass text.encode('utf-8', 'replace').decode()",
        )
    return None


def _way_out(item: object) -> str:
    if isinstance(item, set | frozenset):
        return "pass a sorted list of things that have a JSON form"
    if isinstance(item, int):
        return "pass it as text"
    return "pass str(value), its id, or a dict of the fields that matter"


def _a(item: object) -> str:
    name = type(item).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _safe(item: object) -> str:
    return describe(item, limit=80)
