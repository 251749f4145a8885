"""Pseudonymisation: the person's events stay, under the person's pseudonyms; see ``Change``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from dispatcher.exports.pseudonyms import Pseudonyms
from dispatcher.exports.renaming import REMOVED, Renaming, keep_course
from dispatcher.exports.written_json import read, write_like
from dispatcher.forgetting.change import How
from dispatcher.forgetting.person import Person
from dispatcher.suppression.names import EMAIL, normal_name

# Under these keys, at the top of a line or in its context, stands who acted, and not somebody else.
_OF_ACTOR: Final = frozenset(
    (
        *("username", "user_id", "userId", "lms_user_id", "email", "session", "session_id", "session_key"),
        *("anonymous_id", "anonymousId", "anonymous_user_id"),
    )
)
# A name in a sentence may be any word, and a number anything, if it is short.
_MIN_NAME_CHARACTERS: Final = 3
_MIN_DIGITS: Final = 5
# What Tutor's logging puts before a line.
_USER: Final = re.compile(r"\[user ([^\[\]]{0,512})\]")
_ADDRESS: Final = re.compile(r"\[ip [^\[\]]{0,512}\]")


class Pseudonymisation:
    """Gives one person pseudonyms, and takes out of the person's own events where the person was and with what.

    The pseudonyms are those that an export with the same key gives, so that both can be put together. Other people's
    events keep all but the person's names. What cannot be read goes.

    Args:
        person: Who is forgotten.
        pseudonyms: By the operator's key.
    """

    how: How = "pseudonymised"

    def __init__(self, person: Person, pseudonyms: Pseudonyms) -> None:
        self._person = person
        self._meant = frozenset(normal_name(name) for name in person.identifiers)
        self._pseudonym = pseudonyms.name

    def line(self, line: bytes) -> bytes | None:
        """The line as it was written, with what stood before it, and with pseudonyms."""
        start = line.find(b"{")
        try:
            body = line[start:].decode()
            record = read(body)
        except (ValueError, RecursionError):
            return None
        if start < 0 or not isinstance(record, dict):
            return None
        actor = self._actor_of(record)
        changed = self._change(keep_course(record) if actor else record, actor)
        if changed is None:
            return None
        written = write_like(body, changed) + body[len(body.rstrip()) :]
        return self._prefix(line[:start], actor) + written.encode(errors="backslashreplace")

    def record(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """The same for what was read."""
        return self._change(record, self._actor_of(record))

    def _change(self, record: dict[str, Any], actor: Collection[str]) -> dict[str, Any] | None:
        changed = self._renaming(actor).record(record)
        # Who is still named, as in a way that nobody has thought of, must not stay.
        return None if self._person.is_named_in(changed) else changed

    def _actor_of(self, record: dict[str, Any]) -> frozenset[str]:
        """All names of who acted, if that is the person; else nothing."""
        names = frozenset(_names_of_actor(record))
        return names if not names.isdisjoint(self._meant) else frozenset()

    def _renaming(self, actor: Collection[str]) -> Renaming:
        meant = self._meant.union(actor)
        return Renaming(self._pseudonym, meant=meant, sought=_sought(meant), removed=REMOVED if actor else ())

    def _prefix(self, before: bytes, actor: Collection[str]) -> bytes:
        if not before:
            return before
        renaming = self._renaming(actor)
        text = before.decode(errors="surrogateescape")
        text = _USER.sub(lambda found: f"[user {renaming.name(found[1])}]", text)
        if actor:
            text = _ADDRESS.sub("[ip None]", text)
        return renaming.sentence(text).encode(errors="surrogateescape")


def _names_of_actor(record: dict[str, Any]) -> Iterator[str]:
    context = record.get("context")
    for place in (record, context if isinstance(context, dict) else {}):
        for key in _OF_ACTOR.intersection(place):
            name = place[key]
            if type(name) in (int, str) and name != "":
                yield normal_name(str(name))


def _sought(names: Collection[str]) -> re.Pattern[str] | None:
    """Finds the names in a sentence, but not within longer names, others' addresses and other numbers."""
    words = sorted((one for one in names if _is_telling(one)), key=len, reverse=True)
    if not words:
        return None
    found = "|".join(
        rf"(?<![:+@.-]){one}(?![:-])" if one.isdecimal() else re.escape(one) for one in words if "@" not in one
    )
    return re.compile(rf"(?P<email>{EMAIL.pattern})|(?<![\w-])(?:{found})(?![\w-]|\.\w)") if found else None


def _is_telling(name: str) -> bool:
    return len(name) >= (_MIN_DIGITS if name.isdecimal() else _MIN_NAME_CHARACTERS)
