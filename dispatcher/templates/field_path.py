"""Field paths: where a value stands inside an event. Pure: what is changed is a copy, the rest is shared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

#: The parts of a path, from the outside in: ``("data", "products", "0", "price")``.
FieldPath: TypeAlias = tuple[str, ...]

#: In a path: every key of an object, or every item of a list.
EVERY: Final = "*"
#: What a path begins with.
ROOTS: Final = ("data", "context")


class _Missing:
    """Stands for what is not there, since None is a value of JSON."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class BlockedFieldError(ValueError):
    """Something that is no object stands where a path wants to go through."""


def field_path(text: str, *, many: bool = False) -> FieldPath:
    """The path that a setting names. What does not begin with ``data.`` or ``context.`` is within data.

    Args:
        text: Such as ``data.course_id``, ``context.user_id`` and, for data.course_id again, ``course_id``.
        many: Whether ``*`` may stand for every key or item.

    Raises:
        ValueError: It is no such path; the message says how to mend it.
    """
    parts = tuple(text.split("."))
    if text in ROOTS:
        raise ValueError(f"{text!r} would be all of it: write {text}.KEY, or data.{text} for a key of that name")
    if not all(part and part == part.strip() and not set(part) & set("{}") for part in parts):
        raise ValueError(f"{text!r} is no path: write keys with a dot between them, such as data.course_id")
    if EVERY in parts and not many:
        raise ValueError(f"{text!r} must name one field, so that * cannot stand in it")
    return parts if parts[0] in ROOTS else ("data", *parts)


def read(value: object, path: FieldPath) -> Any:
    """What stands at the path, or MISSING. A whole number in a path counts the items of a list from 0."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and (index := _index(part)) is not None and index < len(value):
            value = value[index]
        else:
            return MISSING
    return value


def changed(value: Any, path: FieldPath, change: Callable[[Any], Any]) -> Any:
    """The value with what stands at the path changed; the value itself where that makes no difference.

    Args:
        value: An object, a list or anything else of JSON.
        path: May hold EVERY. What is not there is not changed.
        change: Gets what stands there and says what shall; MISSING takes it away.
    """
    if not path:
        return change(value)
    part, rest = path[0], path[1:]
    if isinstance(value, dict):
        keys: Iterable[str] = value if part == EVERY else (part,) if part in value else ()
        made = {key: changed(value[key], rest, change) for key in keys}
        if all(new is value[key] for key, new in made.items()):
            return value
        return {key: new for key, old in value.items() if (new := made.get(key, old)) is not MISSING}
    if isinstance(value, list):
        index = _index(part)
        items = [
            changed(item, rest, change) if part == EVERY or position == index else item
            for position, item in enumerate(value)
        ]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return [item for item in items if item is not MISSING]
    return value


def put(value: object, path: FieldPath, new: object) -> dict[str, Any]:
    """The object with ``new`` at the path; objects that are missing on the way, or null, are made.

    Raises:
        BlockedFieldError: What stands on the way is a list, a text or a number.
    """
    if value is None or value is MISSING:
        value = {}
    if not isinstance(value, dict):
        raise BlockedFieldError
    part, rest = path[0], path[1:]
    return {**value, part: put(value.get(part), rest, new) if rest else new}


def only(value: Any, paths: Iterable[FieldPath]) -> Any:
    """The value with nothing but what stands at the paths; MISSING where that is nothing."""
    paths = tuple(paths)
    if () in paths:
        return value
    if isinstance(value, dict):
        kept = {key: only(inner, _below(paths, key)) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not MISSING} or MISSING
    if isinstance(value, list):
        items = [only(item, _below(paths, str(position))) for position, item in enumerate(value)]
        return [item for item in items if item is not MISSING] or MISSING
    return MISSING


def nested(paths: Iterable[FieldPath]) -> FieldPath | None:
    """One of the paths that leads through another of them, if there is any: both cannot have a value."""
    paths = frozenset(paths)
    return next((path for path in sorted(paths) if any(path[:length] in paths for length in range(1, len(path)))), None)


def _below(paths: Iterable[FieldPath], part: str) -> list[FieldPath]:
    return [path[1:] for path in paths if path[0] in (part, EVERY)]


def _index(part: str) -> int | None:
    # The bound keeps int() from a text that only looks like a number of any use.
    return int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else None
