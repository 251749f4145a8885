"""Shapes: what events of one name look like, by which most give their people away without being read whole.

Where anything may hide a name in another way, a shape says so, and the event is read: it never finds fewer people than
``names_in`` does.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from dispatcher.suppression.names import names_person
from dispatcher.wire import AFTER_NAME, ID_END

#: What stands under a key that names a person; UNSET where an event lacks the key.
Name = str | int | float | bool | UnsetType | None

# Names of events that are remembered; they come from users, so the number has to be bounded.
_MAX_NAMES: Final = 1_000
# Events with more keys, as of answers by their problems, seldom have the same ones again.
_MAX_KEYS: Final = 200
# How often a shape is made anew, and how many events in a row may not fit it, until it is given up.
_MAX_LESSONS: Final = 50
# Bytes before a sign of equality, with what stands before most keys; and how many of these are remembered.
_TAIL_BYTES: Final = 10
_MAX_TAILS: Final = 10_000
# What may stand in an address as it is, without hiding a name: a colon, a plus, a blank.
_HARMLESS_ESCAPES: Final = (b"%3A", b"%3a", b"%2B", b"%2b", b"%20")
# What may be an e-mail address, or the way to a user. More than ``names.EMAIL`` and ``names.IN_PATH`` find.
_EMAIL: Final = re.compile(rb"@[\w\x80-\xff-]{1,255}\.")
_IN_PATH: Final = re.compile(
    rb"/(?:u|users?|accounts?|profiles?|learners?|students?|instructors?|progress|enrollment|certificates)/[^/?#&\"]"
)


_Scalar = str | int | float | bool | None


class Shapes:
    """The shapes of a process's events. Safe in threads: what one forgets of another's lesson is learnt once more."""

    def __init__(self) -> None:
        self._by_name: dict[bytes, _Shape] = {}
        # How addresses go on to a sign of equality, behind keys of forms that name nobody.
        self._harmless: set[bytes] = set()

    def people(self, payload: bytes) -> list[Name] | None:
        """Everything in an encoded event that may name a person; None where it has to be read.

        Takes some three microseconds for an event of a kilobyte.
        """
        if self._may_hide(payload):
            return None
        shape = self._by_name.get(payload[ID_END : payload.find(AFTER_NAME, ID_END)])
        return None if shape is None else shape.people(payload)

    def learn(self, payload: bytes, event: Any) -> None:
        """Learn from an event that had to be read.

        Args:
            payload: The event.
            event: As JSON decodes it.
        """
        name = payload[ID_END : payload.find(AFTER_NAME, ID_END)]
        shape = self._by_name.get(name)
        if shape is None:
            if len(self._by_name) >= _MAX_NAMES:
                self._by_name.clear()
            shape = self._by_name[name] = _Shape()
        if not self._may_hide(payload):
            shape.learn(event)

    def _may_hide(self, payload: bytes) -> bool:
        """Whether a text in an event may have somebody in it: by escapes, in an address, in a form."""
        if b"\\" in payload or _IN_PATH.search(payload) is not None:
            return True
        if b"%" in payload and payload.count(b"%") != sum(map(payload.count, _HARMLESS_ESCAPES)):
            return True
        if b"@" in payload and _EMAIL.search(payload) is not None:
            return True
        return b"=" in payload and self._has_form(payload)

    def _has_form(self, payload: bytes) -> bool:
        at = payload.find(b"=")
        while at >= 0:
            if payload[at - _TAIL_BYTES : at] not in self._harmless and self._is_person(payload, at):
                return True
            at = payload.find(b"=", at + 1)
        return False

    def _is_person(self, payload: bytes, end: int) -> bool:
        """Whether the key of a form that ends there names a person, or may do so."""
        start = max(payload.rfind(mark, 0, end) for mark in (b'"', b"&", b"?")) + 1
        key = payload[start:end]
        # With blanks and escapes it may be another one.
        if not key.isascii() or b"+" in key or b"%" in key or names_person(key.decode()):
            return True
        if len(key) < _TAIL_BYTES:
            if len(self._harmless) >= _MAX_TAILS:
                self._harmless.clear()
            self._harmless.add(payload[end - _TAIL_BYTES : end])
        return False


class _Object:
    """What an object of JSON has that is of interest.

    Args:
        people: The fields that name people.
        objects: The fields that are objects, with what these have.
    """

    __slots__ = ("_objects", "_people")

    def __init__(self, people: list[str], objects: list[tuple[str, _Object]]) -> None:
        # For one field attrgetter would not give a tuple.
        self._people = attrgetter(*people, *people[: len(people) == 1]) if people else None
        self._objects = objects

    def collect(self, value: Any, found: list[Name]) -> int:
        """Add the people of a value, and of the objects in it. Returns how many objects it is."""
        if self._people is not None:
            found += self._people(value)
        count = 1
        for field, inner in self._objects:
            child = getattr(value, field)
            if child is not UNSET:
                count += inner.collect(child, found)
        return count


class _Shape:
    """The shape of the events of one name: their keys, at every depth, and which of them name people."""

    def __init__(self) -> None:
        self._keys: dict[str, Any] = {}
        self._decode: Any = None
        self._root = _Object([], [])
        self._made = 0
        self._misses = 0

    def people(self, payload: bytes) -> list[Name] | None:
        """See ``Shapes``."""
        if self._decode is None:
            return None
        try:
            event = self._decode(payload)
        except msgspec.DecodeError:
            return None
        found: list[Name] = []
        # If there is another brace, it is of an object in a list, or in a text.
        if payload.count(b"{") != self._root.collect(event, found):
            return None
        self._misses = 0
        return found

    def learn(self, event: Any) -> None:
        """Take up the keys of an event. Where that does not help for long, the shape is given up."""
        self._misses += 1
        has_learnt = isinstance(event, dict) and _merge(self._keys, event)
        if max(self._misses, self._made) > _MAX_LESSONS or _count(self._keys) > _MAX_KEYS:
            self._decode, self._made = None, _MAX_LESSONS + 1
        elif has_learnt:
            self._made += 1
            try:
                kind, self._root = _make(self._keys)
                self._decode = msgspec.json.Decoder(kind).decode
            except (ValueError, TypeError):  # a key that msgspec cannot look for
                self._decode, self._made = None, _MAX_LESSONS + 1


def _merge(keys: dict[str, Any], value: dict[str, Any]) -> bool:
    """Take up the keys of an object. Returns whether there are new ones.

    One of a person who is an object or a list is left out, so that such an event has another shape and is read.
    """
    is_new = False
    for key, inner in value.items():
        if names_person(key) and isinstance(inner, dict | list):
            continue
        if key not in keys:
            keys[key] = {} if isinstance(inner, dict) else None
            is_new = True
        if isinstance(inner, dict) and keys[key] is not None:
            is_new |= _merge(keys[key], inner)
    return is_new


def _count(keys: dict[str, Any]) -> int:
    return len(keys) + sum(_count(inner) for inner in keys.values() if inner is not None)


def _make(keys: dict[str, Any]) -> tuple[type[msgspec.Struct], _Object]:
    fields: list[tuple[str, Any, Any]] = []
    people: list[str] = []
    objects: list[tuple[str, _Object]] = []
    for number, (key, inner) in enumerate(keys.items()):
        field = f"f{number}"
        kind: Any = Raw
        if inner is not None:
            kind, shape = _make(inner)
            objects.append((field, shape))
        elif names_person(key):
            kind = _Scalar
            people.append(field)
        fields.append((field, kind | UnsetType, UNSET))
    names = {f"f{number}": key for number, key in enumerate(keys)}
    made = msgspec.defstruct("Shape", fields, rename=names, forbid_unknown_fields=True, gc=False)
    return made, _Object(people, objects)
