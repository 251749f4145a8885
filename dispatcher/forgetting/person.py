"""Person: the identifiers of somebody who is to be forgotten, and whether an event or a line names them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from dispatcher.suppression.names import names_in, normal_name

# Longer than any e-mail address (RFC 5321 §4.5.3.1: 254), user name or id.
_MAX_CHARACTERS: Final = 512


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that names one person. Keep it in memory: logs and receipts get hashes.

    Args:
        user_ids: Ids of the account, as ``42``.
        usernames: The name, and those it had before, spelt as the logs have them.
        emails: E-mail addresses; large and small letters are the same.
        anonymous_ids: Of browsers and devices, as Segment's libraries make them.
        sessions: Keys of sessions.

    Raises:
        ValueError: Nothing is given, or one is empty, too long or has control characters. It is not quoted.
    """

    user_ids: tuple[str, ...] = ()
    usernames: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    anonymous_ids: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        given = list(self._given())
        if not given:
            raise ValueError("nobody is named: give at least one identifier")
        for field, text in given:
            if not text.strip() or len(text) > _MAX_CHARACTERS or not text.isprintable():
                raise ValueError(f"one of {field} is empty, longer than {_MAX_CHARACTERS} characters, or not printable")
            if field == "emails" and "@" not in text:
                raise ValueError("one of emails has no @: a user's name goes into usernames")

    @property
    def identifiers(self) -> frozenset[str]:
        """All of them, in the form in which ``names_in`` yields them."""
        return frozenset(normal_name(text) if field == "emails" else text for field, text in self._given())

    def is_named_in(self, value: Any) -> bool:
        """Whether an event, or a line of a log, names the person anywhere, be it as somebody else's data.

        Args:
            value: As JSON decodes it.
        """
        identifiers = self.identifiers
        return any(name in identifiers for name in names_in(value))

    def _given(self) -> Iterator[tuple[str, str]]:
        for field in self.__struct_fields__:
            for text in getattr(self, field):
                yield field, text
