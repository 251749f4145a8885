"""Diagnosis: why a value cannot be encoded, where it stands and what to do. Runs only once encoding has failed."""

from __future__ import annotations

import enum
import math
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import PurePath
from traceback import walk_tb
from typing import Any, Final, cast
from uuid import UUID

import msgspec

from dispatcher.emit.expansion import expands_beyond, may_expand
from dispatcher.secrecy.foreign_error import type_name
from dispatcher.secrecy.safe_text import one_line
from dispatcher.wire import encode_json, json_fallback

#: What encoding may raise: anything, since it reads the attributes and items of objects that are not ours.
ENCODING_ERRORS: Final = Exception

#: Nesting that no real event reaches, and that the workers' decoders still take with room to spare.
MAX_DEPTH: Final = 200

# Values that are examined at most, which takes some tenth of a second.
_MAX_EXAMINED: Final = 100_000
# Bytes of JSON that a single object is encoded to, to see whether it can be.
_MAX_BYTES: Final = 1 << 20

# Types that hold no float. For JSON that an app has encoded itself, the app answers.
_FINITE: Final = frozenset({str, int, bool, type(None), msgspec.Raw})
# How a container of a subclass is copied to a plain one, without its own code.
_COPIES: Final[dict[type, Callable[[Any], object]]] = {
    dict: dict.copy,
    list: list.copy,
    tuple: lambda value: tuple.__add__(value, ()),
    set: lambda value: set().union(value),
    frozenset: lambda value: frozenset().union(value),
}
# Types whose values are shown as text: how a subclass's is copied first; None where the type's own repr will do.
_SHOWN: Final[dict[type, Callable[[Any], object] | None]] = {
    **_COPIES,
    str: str.__str__,
    **dict.fromkeys((type(None), bool, float, complex, bytes, bytearray, range, Decimal, UUID, PurePath)),
    int: int.__int__,
    **{
        base: None
        for kind in (datetime, date, time, timedelta)
        for base in kind.__mro__
        if base.__module__ == "datetime"  # where freezegun has put its own types in their place
    },
}
_ORDERED: Final = (list, tuple)
# A key that may stand in an error, and an index.
_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.: -]{0,63}|[0-9]{1,6}")
_MAX_INDEX: Final = 1_000_000
# By the names of their modules: Django need not be here.
_DJANGO: Final = {
    ("django.db.models.base", "Model"): "pass its pk, or a dict of the fields that matter",
    (
        "django.db.models.query",
        "QuerySet",
    ): "pass list(queryset.values_list('pk', flat=True)), or what else matters of it",
    ("django.db.models.manager", "BaseManager"): "pass list(manager.values_list('pk', flat=True)), or a count",
}
# Made once: written out in isinstance, it would be made anew for each value.
_SEQUENCES: Final = (list, tuple, set, frozenset)


@dataclass(frozen=True, slots=True)
class Problem:
    """One value that cannot be encoded.

    Args:
        path: Where it stands, as Python writes that, such as ``data['users'][3]``.
        what: What is wrong with it. Follows the path in a sentence.
        remedy: What to pass instead.
    """

    path: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}; {self.remedy}"


def diagnose(root: str, value: object, *, limit: int = _MAX_EXAMINED) -> Problem | None:
    """Find the first value inside ``value`` that has no JSON form. Never raises.

    Args:
        root: The name of ``value`` in a path, such as ``data``.
        value: Anything. An object's own code may run, such as its ``repr``.
        limit: How many values are looked at, at most: the caller of emit waits for this.

    Returns:
        None if nothing was found among them.
    """
    try:
        for place, item, parents in islice(_walk(root, value), limit):
            problem = None if _is_surely_encodable(item) else _examine(place, item, parents)
            if problem is not None:
                return problem
    except Exception as error:  # an object's own code, or another thread that changes the value
        what = f"cannot be examined: {type_name(error)}"
        return Problem(root, what, "pass plain dicts and lists that nothing changes meanwhile")
    return None


def holds_non_finite(value: object) -> bool:
    """Whether a value that can be encoded has a NaN or infinity in it. The encoder writes both as null."""
    level = [value]
    while level:
        next_level: list[object] = []
        for item in level:
            if type(item) in _FINITE:
                continue
            if isinstance(item, float):
                if not math.isfinite(item):
                    return True
            elif isinstance(item, dict):
                next_level.extend(dict.values(item))
            elif isinstance(item, _SEQUENCES):
                next_level.extend(item if type(item) in _SEQUENCES else _plain_copy(item))
            else:
                # As the encoder sees it: a dict for a dataclass, the value of an enum, text for most.
                next_level.append(msgspec.to_builtins(item, enc_hook=json_fallback, str_keys=True))
        level = next_level
    return False


def _plain_copy(container: Any) -> Any:
    """The items of a list, tuple, set or frozenset of a subclass, without its own code."""
    return next(copy(container) for base, copy in _COPIES.items() if isinstance(container, base))


def describe(value: object, *, limit: int = 65_536) -> str:
    """Describe any value as text, for a dead letter or an error.

    Args:
        value: Anything; an object whose own ``repr`` raises is described by its type.
        limit: The most characters.

    Returns:
        The text. Never raises.
    """
    try:
        text = _BoundedRepr(limit).repr(value)
    except Exception as error:
        text = f"<{type_name(value)} whose repr raised {type_name(error)}>"
    return text[:limit].encode("utf-8", "backslashreplace").decode()


class _BoundedRepr(reprlib.Repr):
    """A repr that ends after so many characters, and shows no object by its own code.

    A value that contains itself twice would take for ever, and the repr of a Django queryset asks the database.
    """

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
        kind = type(x)
        if issubclass(kind, enum.Enum):
            text = f"<{type_name(x)}.{x._name_}>"
        else:
            shown = next((base for base in kind.__mro__ if base in _SHOWN), None)
            text = f"<{type_name(x)}>" if shown is None else self._repr_plain(shown, x, level)
        self._left = before - len(text)
        return text

    def _repr_plain(self, shown: Any, x: Any, level: int) -> str:
        # As a value of that very type: a subclass may have a repr, an order of keys, or items of its own.
        copy = _SHOWN[shown]
        if copy is None:
            text = shown.__repr__(x)
            return text if len(text) <= self.maxother else f"{text[: self.maxother]}…"
        return super().repr1(copy(x), level)


class _Place:
    """Where a value stands. Written as text only for the value that is at fault."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.keys: list[object] = []

    def __str__(self) -> str:
        return self._root + "".join(f"[{_key(key)}]" for key in self.keys)


def _walk(root: str, value: object) -> Iterator[tuple[_Place, object, Set[int]]]:
    """Every value in ``value``, depth first: its place, the value, and the ids of the values that it stands in.

    A loop with a stack, since a value may be ten thousand levels deep, and recursion would fail there.
    """
    place = _Place(root)
    parents: dict[int, object] = {}
    # For each parent, the children that are still to come.
    levels: list[Iterator[tuple[object, object]]] = []
    item = value
    while True:
        yield place, item, parents.keys()
        # Only types are asked: isinstance would have a lazy object, such as Django's, look up what it stands for.
        kind = type(item)
        is_mapping = issubclass(kind, Mapping)
        if (is_mapping or issubclass(kind, _ORDERED)) and id(item) not in parents and len(parents) <= MAX_DEPTH:
            parents[id(item)] = item
            levels.append(_children(item, is_mapping=is_mapping))
        elif place.keys:
            place.keys.pop()
        child = None
        while levels and child is None:
            child = next(levels[-1], None)
            if child is None:
                levels.pop()
                parents.popitem()
                if place.keys:
                    place.keys.pop()
        if child is None:
            return
        key, item = child
        place.keys.append(key)


def _children(item: Any, *, is_mapping: bool) -> Iterator[tuple[object, object]]:
    if not is_mapping:
        return enumerate(list.__iter__(item) if isinstance(item, list) else tuple.__iter__(item))
    # As the encoder reads it, whatever a subclass makes of it.
    return iter(dict.items(item) if isinstance(item, dict) else item.items())


def _is_surely_encodable(item: object) -> bool:
    # Most values are, and _examine takes ten times as long.
    value_type = type(item)
    if value_type is str:
        return item.isascii()  # type: ignore[attr-defined, no-any-return]
    return value_type is bool or item is None or (value_type is float and math.isfinite(item))  # type: ignore[arg-type]


def _examine(place: _Place, item: Any, parents: Set[int]) -> Problem | None:  # noqa: PLR0911 - one return a case
    if id(item) in parents:
        return Problem(str(place), "contains itself", "pass the ids of the things, not the things")
    if len(parents) > MAX_DEPTH:
        return Problem(str(place), f"is nested more than {MAX_DEPTH} levels deep", "flatten it")
    kind = type(item)
    if issubclass(kind, Mapping):
        return _examine_keys(place, item)
    if issubclass(kind, _ORDERED):
        return None
    if issubclass(kind, float) and not math.isfinite(item):
        what = f"is {float.__repr__(item)}, which JSON has no number for"
        return Problem(str(place), what, "pass None, or leave the key out")
    if issubclass(kind, str) and not issubclass(kind, enum.Enum):
        return _examine_text(place, str.__str__(item))
    if may_expand(item) and expands_beyond(item, _MAX_BYTES):
        what = f"is {kind_of(item)} that would be more than {_MAX_BYTES:,} bytes of JSON, or contains itself"
        return Problem(str(place), what, "pass the ids of the things, not the things")
    try:
        encode_json(item)
    except ENCODING_ERRORS as error:
        return Problem(str(place), f"is {kind_of(item)}: {encoder_text(error)}", _remedy(item))
    if holds_non_finite(item):
        what = f"is {kind_of(item)} with NaN or infinity in it, which JSON has no number for"
        return Problem(str(place), what, "pass None, or leave it out")
    return None


def _examine_keys(place: _Place, item: Mapping[Any, Any]) -> Problem | None:
    for key in dict.keys(item) if isinstance(item, dict) else item:
        if issubclass(type(key), str):
            problem = _examine_text(f"the key {_key(key)} of {place}", str.__str__(key))
            if problem is not None:
                return problem
            continue
        try:
            encode_json({key: None})
        except ENCODING_ERRORS:
            path = f"the key {_key(key)} of {place}"
            return Problem(path, f"is {kind_of(key)}", "keys must be strings: pass str(key)")
    if not isinstance(item, dict):
        return Problem(str(place), f"is {kind_of(item)}, not a dict", "pass dict(value)")
    return None


def _examine_text(place: object, text: str) -> Problem | None:
    index = _lone_surrogate(text)
    if index is None:
        return None
    return Problem(
        str(place),
        f"holds the lone surrogate \\u{ord(text[index]):04x} at character {index}",
        "decode the text properly, or pass text.encode('utf-8', 'replace').decode()",
    )


def _lone_surrogate(text: str) -> int | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _remedy(item: object) -> str:
    kind = type(item)
    if issubclass(kind, set | frozenset):
        return "pass a sorted list of things that have a JSON form"
    if issubclass(kind, int):
        return "pass it as text"
    try:
        names = {(base.__module__, base.__name__) for base in kind.__mro__}
    except Exception:  # a metaclass's own code
        names = set()
    for name, remedy in _DJANGO.items():
        if name in names:
            return remedy
    return "pass str(value), its id, or a dict of the fields that matter"


def kind_of(value: object) -> str:
    """The type of a value, for an error: the value itself may be anybody's name or password. Runs none of its code.

    Returns:
        Such as ``a dict`` or ``a str of 300 characters``.
    """
    kind = type(value)
    name = type_name(value)
    article = "an" if name[:1].lower() in "aeiou" else "a"
    if issubclass(kind, str):
        return f"{article} {name} of {str.__len__(cast('str', value)):,} characters"
    return f"{article} {name}"


def _key(key: object) -> str:
    # A key that looks like a name in code is one. Any other may be data: an address, the text of a form.
    if type(key) is int and key < _MAX_INDEX:
        return str(key)
    text = str.__str__(key) if issubclass(type(key), str) else ""
    return repr(text) if _NAME.fullmatch(text) else f"<{kind_of(key)}>"


def encoder_text(error: Exception) -> str:
    """What the encoder says of a value; of an error in the value's own code only its type, since it may quote."""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    is_encoders = all(f"{module}.".startswith(("dispatcher.", "msgspec.")) for module in frames)
    return one_line(str(error), 200) if is_encoders else f"its own code raised {type_name(error)}"
