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
    """Stands for the absence of a value, since None is a value of JSON."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class BlockedFieldError(ValueError):
    """A list, a text or a number stands where a path leads through."""


def field_path(text: str, *, many: bool = False) -> FieldPath:
    """The path that a setting names. One that begins with neither ``data.`` nor ``context.`` is within data.

    Args:
        text: Such as ``data.course_id``, ``context.user_id`` and, for data.course_id again, ``course_id``.
        many: Whether ``*`` may stand for every key or item.

    Raises:
        ValueError: It is not such a path; the message says how to mend it.
    """
    parts = tuple(text.split("."))
    if text in ROOTS:
        raise ValueError(f"{text!r} would be all of it: write {text}.KEY, or data.{text} for a key of that name")
    if not all(part and part == part.strip() and not set(part) & set("{}") for part in parts):
        raise ValueError(f"{text!r} is not a path: write keys with a dot between them, such as data.course_id")
    if EVERY in parts and not many:
        raise ValueError(f"{text!r} must name one field, so that * cannot stand in it")
    return parts if parts[0] in ROOTS else ("data", *parts)


def field_paths(texts: Iterable[str]) -> tuple[FieldPath, ...]:
    """The paths that a setting lists, in each of which ``*`` may stand. Raises ValueError as ``field_path`` does."""
    return tuple(field_path(text, many=True) for text in texts)


def read(value: object, path: FieldPath) -> Any:
    """Read the value at a path.

    Args:
        value: An event's data or context, or a part of it.
        path: Names of keys; a whole number counts the items of a list from 0.

    Returns:
        The value, or MISSING if a key or an item on the way does not exist.
    """
    for part in path:
        if isinstance(value, dict):
            value = value.get(part, MISSING)
        elif isinstance(value, list) and (index := _index(part)) is not None and index < len(value):
            value = value[index]
        else:
            return MISSING
    return value


def change_at(value: Any, path: FieldPath, change: Callable[[Any], Any], *, widely: bool = False) -> Any:
    """The value with what stands at the path changed; the value itself where that makes no difference.

    Args:
        value: An object, a list or anything else of JSON.
        path: May hold EVERY. Where nothing stands, nothing changes.
        change: Gets what stands there and returns what is to stand there; MISSING takes it away.
        widely: Whether keys that differ by upper and lower case are meant too, and a key of the items of a list by a
            path that leads to the list.
    """
    if not path:
        return change(value)
    part, rest = path[0], path[1:]
    if isinstance(value, dict):
        keys: Iterable[str] = value if part == EVERY else (part,) if part in value else ()
        if widely and part != EVERY:
            lowered, length = part.lower(), len(part)
            keys = [key for key in value if len(key) == length and key.lower() == lowered]
        changed = value | {key: change_at(value[key], rest, change, widely=widely) for key in keys}
        if all(changed[key] is value[key] for key in keys):
            return value
        return {key: new for key, new in changed.items() if new is not MISSING}
    if isinstance(value, list):
        index = _index(part)
        if widely and index is None and part != EVERY:
            rest = path
        items = [
            change_at(item, rest, change, widely=widely) if rest is path or part == EVERY or position == index else item
            for position, item in enumerate(value)
        ]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return [item for item in items if item is not MISSING]
    return value


def put(value: object, path: FieldPath, new: object) -> dict[str, Any]:
    """The object with ``new`` at the path; objects on the way that are missing, or null, are made.

    Raises:
        BlockedFieldError: What stands on the way is a list, a text or a number.
    """
    if value is None or value is MISSING:
        value = {}
    if not isinstance(value, dict):
        raise BlockedFieldError
    part, rest = path[0], path[1:]
    return {**value, part: put(value.get(part), rest, new) if rest else new}


def drop_at(value: Any, path: FieldPath) -> Any:
    """The value without what stands at the path; the value itself where nothing stands there."""
    return change_at(value, path, lambda _: MISSING)


def keep_only(value: Any, paths: Iterable[FieldPath]) -> Any:
    """Keep the values at some paths.

    Args:
        value: Where they are; it stays as it is.
        paths: Those to keep.

    Returns:
        A copy with these values and the objects around them, or MISSING if none of them exists.
    """
    paths = tuple(paths)
    if () in paths:
        return value
    if isinstance(value, dict):
        kept = {key: keep_only(inner, _below(paths, key)) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if inner is not MISSING} or MISSING
    if isinstance(value, list):
        items = [keep_only(item, _below(paths, str(position))) for position, item in enumerate(value)]
        return [item for item in items if item is not MISSING] or MISSING
    return MISSING


def find_nested(paths: Iterable[FieldPath]) -> FieldPath | None:
    """A path that leads through another of the paths, so that both cannot have a value; None if none does."""
    paths = frozenset(paths)
    for path in sorted(paths):
        if any(path[:length] in paths for length in range(1, len(path))):
            return path
    return None


def _below(paths: Iterable[FieldPath], part: str) -> list[FieldPath]:
    return [path[1:] for path in paths if path[0] in (part, EVERY)]


def _index(part: str) -> int | None:
    # The bound keeps int() from a text that only looks like a number of any use.
    return int(part) if part.isascii() and part.isdecimal() and len(part) < 10 else None
