"""Expansion: how large a value becomes as JSON, in which what is shared stands once for each place that it has.

``x = [x, x]`` a hundred times is a hundred lists in memory and 2¹⁰⁰ in JSON. The encoder has no limit, and holds the
interpreter until it is done, so such a value is refused before it is encoded.

Most events are small. These are encoded into a buffer that cannot grow, which costs next to nothing; only what does not
fit is walked through.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable
from pickle import PickleBuffer
from typing import Any, Final

import msgspec

from dispatcher.wire import encode_json, json_fallback

#: Whether the garbage collector follows a value. False for numbers, text and, up to CPython 3.13, for a dict of nothing
#: else: one call tells that the usual event cannot expand.
may_expand: Final = gc.is_tracked

# The containers whose items are all that the collector sees in them.
_PLAIN: Final = frozenset({dict, list, tuple, set, frozenset})
# Whose own size counts once there are many of them.
_SIZED: Final = frozenset({str, bytes, bytearray, dict, tuple})
# Values up to which the sizes of texts and flat dicts are not looked at: they would have to be huge to matter.
_FEW: Final = 2_048
# Values of one level up to which it does not matter that some are the same.
_MANY: Final = 16
# Bytes of the first buffer, which holds most events. One that did not fit is tried four times as large, up to the last.
_FIRST_BUFFER: Final = 2_048
_LAST_BUFFER: Final = 1 << 18
# Bytes beyond which making a buffer takes so long that a small event gets a smaller one the next time.
_LARGE_BUFFER: Final = 1 << 16
# Keys whose buffer's size is remembered. They come from callers, hence the bound.
_MAX_KEYS: Final = 10_000
# Deeper than any encoder goes; what contains itself has no end.
_MAX_LEVELS: Final = 10_000

# A copy is made in two thirds of the time of bytearray(2048).
_make_first_buffer: Final = bytearray(_FIRST_BUFFER).copy
_encode_into: Final = msgspec.json.Encoder(enc_hook=json_fallback).encode_into


class ExpansionError(ValueError):
    """A value that was not encoded, since it would be too large."""


# Where the last value of a key did not fit into the first buffer: the bytes of the one that it did fit into.
_buffer_sizes: Final[dict[str, int]] = {}


def encode_bounded(value: object, limit: int, key: str = "") -> bytes:
    """Compact JSON of a value that may expand.

    Args:
        value: Anything.
        limit: The bytes beyond which it is not encoded. Somewhat larger results may be returned.
        key: What is the same for values of about one size, such as the event's name: the buffer is made for the last.

    Raises:
        ExpansionError: It would be larger, or has no end.
        TypeError, ValueError, RecursionError: It has no JSON form.
    """
    size = _buffer_sizes.get(key)
    buffer = _make_first_buffer() if size is None else bytearray(size)
    while True:
        lock = PickleBuffer(buffer)  # noqa: F841 - while it is there, Python lets nobody resize the buffer
        try:
            _encode_into(value, buffer)
        except BufferError:
            size = 4 * (size or _FIRST_BUFFER)
            if size > _LAST_BUFFER:
                break
            buffer = bytearray(size)
            continue
        if size is not None and (size > _LARGE_BUFFER or size != _buffer_sizes.get(key)):
            _remember_size(key, len(buffer))
        return b"" + buffer  # in half the time of bytes(buffer)
    if expands_beyond(value, limit):
        raise ExpansionError(f"it would be more than {limit:,} bytes of JSON")
    return encode_json(value)


def _remember_size(key: str, size: int) -> None:
    """Have the next value of that key encoded into a buffer somewhat larger than this one's ``size`` bytes."""
    if len(_buffer_sizes) >= _MAX_KEYS:
        _buffer_sizes.clear()
    _buffer_sizes[key] = min(max(size + size // 4, _FIRST_BUFFER), _LAST_BUFFER)


def expands_beyond(value: object, limit: int) -> bool:
    """Whether a value is surely more than ``limit`` bytes of JSON, or has no end. Takes as long as that many values do.

    Args:
        value: Anything. Of dataclasses and the like the fields are read; no other code of an object runs.
        limit: A number of bytes. A value counts for one byte, and a text among thousands of others for its length, so
            that nothing is taken for larger than it is.
    """
    level: list[Any] = [value]
    total = 0
    for _ in range(_MAX_LEVELS):
        if _PLAIN.issuperset(map(type, level)):
            if total + sum(map(len, level)) > limit:
                return True
            children = gc.get_referents(*level)
        else:
            children = _read_children(level, limit - total)
        total += len(children)
        if total > _FEW:
            if not _SIZED.isdisjoint(map(type, children)):
                total += sum(len(child) for child in children if type(child) in _SIZED)
            if total > limit:
                return True
        # The same value as often as it stands there.
        level = list(filter(gc.is_tracked, children))
        if not level:
            return False
        if len(level) > _MANY and len(set(map(id, level))) < len(level) // 2:
            return _shared_expands_beyond(level, limit - total)
    return True


def _shared_expands_beyond(level: list[Any], limit: int) -> bool:
    """The same for values of which most are there many times: each is looked at once a level, and counted as often."""
    items, counts = {id(item): item for item in level}, Counter(map(id, level))
    for _ in range(_MAX_LEVELS):
        found: dict[int, Any] = {}
        totals: Counter[int] = Counter()
        for key, item in items.items():
            children = _read_children([item], limit)
            limit -= counts[key] * (len(children) + sum(len(child) for child in children if type(child) in _SIZED))
            if limit < 0:
                return True
            for child in filter(gc.is_tracked, children):
                found[id(child)] = child
                totals[id(child)] += counts[key]
        if not found:
            return False
        items, counts = found, totals
    return True


def _read_children(level: Iterable[Any], limit: int) -> list[Any]:
    """What the encoder finds in values of which some are of classes of anybody's; little more than ``limit``."""
    children: list[Any] = []
    for item in level:
        if len(children) > limit:
            break
        kind = type(item)
        if kind in _PLAIN:
            children += gc.get_referents(item)
        elif issubclass(kind, dict):
            children += dict.values(item)
        elif issubclass(kind, list):
            children += list.__iter__(item)
        elif issubclass(kind, tuple):
            children += tuple.__iter__(item)
        elif issubclass(kind, set | frozenset):
            children += (set if issubclass(kind, set) else frozenset).__iter__(item)
        else:
            children += [getattr(item, name, None) for name in _field_names(kind)]
    return children


def _field_names(kind: type) -> list[str]:
    """The fields of a dataclass, a msgspec.Struct or a class of attrs; none of any other."""
    for found in ("__struct_fields__", "__dataclass_fields__"):
        names = getattr(kind, found, None)
        if names:
            return list(names)
    return [attribute.name for attribute in getattr(kind, "__attrs_attrs__", ())]
