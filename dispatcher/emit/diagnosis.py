"""Why a value cannot be encoded: where it stands, what it is, and the way out. Runs only once encoding has failed."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import msgspec

from dispatcher.wire import encode_json, json_fallback

#: What encoding may raise: anything, since it reads the attributes and items of objects that are not ours.
ENCODING_ERRORS: Final = Exception

#: Nesting that no real event reaches, and that the workers' decoders still take with room to spare.
MAX_DEPTH: Final = 200

# Values looked at before it is given up, after some tenth of a second.
_MAX_LOOKED_AT: Final = 100_000

# Types that hold no float; JSON that somebody has encoded already is theirs to answer for.
_FINITE: Final = frozenset({str, int, bool, type(None), msgspec.Raw})


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that cannot be encoded. ``path`` is written as Python would, such as ``data['users'][3]``."""

    path: str
    what: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}; {self.way_out}"


def diagnose(root: str, value: object) -> Problem | None:
    """The first thing in ``value`` that has no JSON form, or None. ``root`` is what the value itself is called.

    None too where it stands behind the first 100,000 values, since whoever emits waits for this.
    """
    try:
        for place, item, parents in islice(_walk(root, value), _MAX_LOOKED_AT):
            problem = None if _is_plain(item) else _examine(place, item, parents)
            if problem is not None:
                return problem
    except Exception as error:  # an object's own code, or another thread that changes what is looked at
        what = f"cannot be looked into: {type(error).__name__} {_safe(str(error))}"
        return Problem(root, what, "pass plain dicts and lists that nothing changes meanwhile")
    return None


def holds_non_finite(value: object) -> bool:
    """Whether there is a NaN or infinity in a value that can be encoded."""
    todo = [value]
    for item in todo:  # which grows meanwhile
        if type(item) in _FINITE:
            continue
        if isinstance(item, float):
            if not math.isfinite(item):
                return True
        elif isinstance(item, dict):
            todo.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            todo.extend(item)
        else:
            # As the encoder sees it: a dict for a dataclass, the value of an enum, text for most.
            todo.append(msgspec.to_builtins(item, enc_hook=json_fallback, str_keys=True))
    return False


def describe(value: object, *, limit: int = 65_536) -> str:
    """A bounded text of any value, for a dead letter. Never raises."""
    try:
        text = _BoundedRepr(limit).repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text[:limit].encode("utf-8", "backslashreplace").decode()


class _BoundedRepr(reprlib.Repr):
    """Stops once it has so many characters: what contains itself twice has more texts than there is time for."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.maxlevel = 20
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 200
        self.maxstring = self.maxother = min(characters, 4096)
        self._left = characters

    def repr1(self, x: Any, level: int) -> str:
        """The text of one value inside the whole."""
        before = self._left
        if before <= 0:
            return "…"
        text = super().repr1(x, level)
        self._left = before - len(text)
        return text


class _Place:
    """Where a value stands: spelt out only for the one that is at fault."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.keys: list[object] = []

    def __str__(self) -> str:
        return self._root + "".join(f"[{_safe(key)}]" for key in self.keys)


def _walk(root: str, value: object) -> Iterator[tuple[_Place, object, Set[int]]]:
    # By hand and not by recursion: what is looked at here may be ten thousand levels deep.
    place = _Place(root)
    parents: dict[int, object] = {}
    inside: list[Iterator[tuple[object, object]]] = [iter([(None, value)])]
    while inside:
        found = next(inside[-1], None)
        if found is None:
            inside.pop()
            if place.keys:
                place.keys.pop()
            if parents:
                parents.popitem()
            continue
        key, item = found
        if len(inside) > 1:
            place.keys.append(key)
        yield place, item, parents.keys()
        if isinstance(item, Mapping | list | tuple) and id(item) not in parents and len(parents) <= MAX_DEPTH:
            parents[id(item)] = item
            inside.append(_children(item))
        elif place.keys:
            place.keys.pop()


def _children(item: Mapping[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[tuple[object, object]]:
    return iter(item.items() if isinstance(item, Mapping) else enumerate(item))


def _is_plain(item: object) -> bool:
    # Most values are, and looking closer takes ten times as long.
    kind = type(item)
    if kind is str:
        return item.isascii()  # type: ignore[attr-defined, no-any-return]
    return kind is bool or item is None or (kind is float and math.isfinite(item))  # type: ignore[arg-type]


def _examine(place: _Place, item: object, parents: Set[int]) -> Problem | None:  # noqa: PLR0911 - one return a case
    if id(item) in parents:
        return Problem(str(place), "contains itself", "pass the ids of the things, not the things")
    if len(parents) > MAX_DEPTH:
        return Problem(str(place), f"is nested more than {MAX_DEPTH} levels deep", "flatten it")
    if isinstance(item, Mapping):
        return _examine_keys(place, item)
    if isinstance(item, list | tuple):
        return None
    if isinstance(item, float) and not math.isfinite(item):
        return Problem(str(place), f"is {item}, which JSON has no number for", "pass None, or leave the key out")
    if isinstance(item, str):
        return _examine_text(place, item)
    try:
        encode_json(item)
    except ENCODING_ERRORS as error:
        return Problem(str(place), f"is {_a(item)} ({_safe(item)}): {error}", _way_out(item))
    if holds_non_finite(item):
        what = f"is {_a(item)} ({_safe(item)}) with NaN or infinity in it, which JSON has no number for"
        return Problem(str(place), what, "pass None, or leave it out")
    return None


def _examine_keys(place: _Place, item: Mapping[Any, Any]) -> Problem | None:
    for key in item:
        if isinstance(key, str):
            if _lone_surrogate(key) is not None:
                return _examine_text(f"the key {_safe(key)} of {place}", key)
            continue
        try:
            encode_json({key: None})
        except ENCODING_ERRORS:
            return Problem(f"the key {_safe(key)} of {place}", f"is {_a(key)}", "keys must be strings: pass str(key)")
    if not isinstance(item, dict):
        return Problem(str(place), f"is {_a(item)}, not a dict", "pass dict(value)")
    return None


def _examine_text(place: object, text: str) -> Problem | None:
    found = _lone_surrogate(text)
    if found is None:
        return None
    return Problem(
        str(place),
        f"holds the lone surrogate \\u{ord(text[found]):04x} at character {found}",
        "decode the text properly, or pass text.encode('utf-8', 'replace').decode()",
    )


def _lone_surrogate(text: str) -> int | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
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
