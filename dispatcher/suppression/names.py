"""Names: everything in an event, or in a line of a log, that may say whom it is about. Pure.

Who forgets a person and who keeps a person from coming back ask this, so that both mean the same events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

# Words of keys whose values name a person, a browser of one, or one's session; and words that may stand behind them.
_PERSONS: Final = frozenset(
    (
        *("user", "users", "username", "usernames", "userid", "userids", "student", "students", "learner", "learners"),
        *("instructor", "instructors", "teacher", "author", "sender", "recipient", "recipients", "requester", "actor"),
        *("member", "members", "owner", "account", "anonymous", "session", "sessionid", "email", "emails", "mail"),
        *("uid", "login"),
    )
)
_BEHIND: Final = frozenset(
    (
        *("id", "ids", "name", "names", "key", "pk", "email", "emails", "address", "identifier", "identifiers"),
        *("handle", "uuid"),
    )
)
# Keys with one of these in them name a person wherever the word stands.
_ANYWHERE: Final = frozenset(("email", "emails", "username", "usernames", "userid", "userids"))
# Within an object that is a person, what says which one.
OWN_KEYS: Final = frozenset(("id", "pk", "key", "name", "value", "uuid"))
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
# Text with none of these names nobody, unless it stands under such a key.
_TELLING: Final = re.compile(r"[@{\[=/]|%40")
EMAIL: Final = re.compile(r"[\w.+'-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
# Parts of addresses of Open edX, and of many others, behind which a user stands.
IN_PATH: Final = re.compile(
    r"/(?:u|users?|accounts?|profiles?|learners?|students?|instructors?|progress|enrollment|certificates)"
    r"/([^/?#&\s\"'<>]{1,254})"
)
#: A key and its value in JSON that cannot be read; in text within text its quotation marks are escaped.
PAIR: Final = re.compile(r'"([A-Za-z_]{1,64})\\{0,7}" ?: ?\\{0,7}"?([^"\\,}\]]{1,512})')
#: Text that is longer is not taken apart as a form: edX cuts what browsers send at 512 characters.
MAX_FORM: Final = 65_536
# Texts whose names are remembered, and the longest of them: some megabytes at most.
_KNOWN_TEXTS: Final = 4096
_MAX_KNOWN_CHARACTERS: Final = 256
#: JSON within JSON within JSON: a browser's event has it once.
MAX_TEXTS: Final = 4

_decode: Final = msgspec.json.Decoder().decode


@lru_cache(maxsize=10_000)
def names_person(key: str) -> bool:
    """Whether what stands under a key says who somebody is, as ``user_id``, ``username`` or ``requestingStudentId``."""
    words = [word.lower() for word in _WORDS.findall(key)]
    if not _ANYWHERE.isdisjoint(words):
        return True
    while words and words[-1] in _BEHIND and words[-1] not in _PERSONS:
        words.pop()
    return bool(words) and words[-1] in _PERSONS


def normal_name(name: str) -> str:
    """A name in the form in which ``names_in`` yields it: an e-mail address in small letters."""
    return name.lower() if "@" in name else name


def names_in(value: Any) -> Iterator[str]:
    """Every text and number in a value of JSON that may name a person; e-mail addresses in small letters.

    These are the values under keys that say so, however deep, also in JSON and forms that are text; e-mail addresses
    anywhere; and the users in addresses of pages. A name in a sentence is not found.

    Args:
        value: An event, or a line of a log, as JSON decodes it.
    """
    return iter(_names(value, is_person=False, texts=0))


def _names(value: Any, *, is_person: bool, texts: int) -> list[str]:
    # With a stack of its own, since relays ask for each event while somebody is on the list: calls cost more than this.
    found: list[str] = []
    left: list[tuple[Any, bool]] = [(value, is_person)]
    while left:
        value, is_person = left.pop()
        kind = type(value)
        if kind is dict:
            for key, inner in value.items():
                if is_person and key not in OWN_KEYS:
                    found.append(key)
                is_own = names_person(key) or (is_person and key in OWN_KEYS)
                # Most values are neither objects nor under such a key.
                if is_own or type(inner) is not str:
                    left.append((inner, is_own))
                elif len(inner) <= _MAX_KNOWN_CHARACTERS:
                    found += _in_short_text(inner, texts)
                else:
                    found += _in_text(inner, texts)
        elif kind is list:
            left += [(inner, is_person) for inner in value]
        elif kind is str:
            if is_person and value:
                found.append(value)
            found += _in_text(value, texts)
        elif is_person and (kind is int or (kind is float and value.is_integer())):
            found.append(str(int(value)))
    return found


@lru_cache(maxsize=_KNOWN_TEXTS)
def _in_short_text(text: str, texts: int) -> tuple[str, ...]:
    """The names in a short text. Browsers, pages and courses come again and again."""
    return tuple(_in_text(text, texts))


def _in_text(text: str, texts: int) -> Iterator[str]:
    """The names in a text."""
    if _TELLING.search(text):
        yield from _in_telling_text(text, texts)


def _in_telling_text(text: str, texts: int) -> Iterator[str]:
    if text[0] in "{[" and texts < MAX_TEXTS:
        try:
            found = _decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            pass
        else:
            yield from _names(found, is_person=False, texts=texts + 1)
            return
    if '"' in text:
        # JSON that was cut, as edX cuts what browsers send, or with something before it.
        for key, inner in PAIR.findall(text):
            if names_person(key):
                yield inner
    if "@" in text or "%40" in text:
        for email in EMAIL.findall(text):
            yield unquote(email).lower()
    if "/" in text:
        for part in IN_PATH.findall(text):
            # As in enrollment/NAME,COURSE.
            yield unquote(part).partition(",")[0]
    if "=" in text and len(text) <= MAX_FORM and texts < MAX_TEXTS:
        for key, inner in parse_qsl(text.rpartition("?")[2]):
            yield from _names(inner, is_person=names_person(key), texts=texts + 1)
