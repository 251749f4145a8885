"""Renaming: people in a line of a log get pseudonyms, wherever ``suppression.names`` finds that they are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Final
from urllib.parse import quote_plus, unquote, unquote_plus

from dispatcher.exports.written_json import read, write_like
from dispatcher.request.course import course_fields
from dispatcher.suppression.names import EMAIL, IN_PATH, MAX_FORM, MAX_TEXTS, OWN_KEYS, PAIR, names_person, normal_name

#: What edX takes out of logs that it gives to researchers: where somebody was and with what, what was uploaded, and
#: addresses, which may name anybody. Sought at every depth.
REMOVED: Final = frozenset(
    (
        *("ip", "host", "page", "referer", "referrer", "path", "device", "url", "url_name", "source_url", "report_url"),
        *("GET", "POST", "certificate_id", "certificate_url", "fileName", "file_upload_key", "uploaded_file"),
    )
)
# What says what happened and where, in words that a user may have taken for a name, as the demo's `honor` has.
_KEPT: Final = frozenset(("event_type", "event_source", "time", "timestamp", "course_id", "org_id", "mode"))
# A user in a path, and what may stand behind, as in enrollment/NAME,COURSE.
_BEHIND_USER: Final = re.compile("(?:,|%2[Cc]).*", re.DOTALL)


class Renaming:
    """The renaming of one line. Pure.

    Args:
        pseudonym: Gives the pseudonym of a name.
        meant: The names that get one, as ``normal_name`` has them; None: all.
        sought: Finds names in sentences, which get one too.
        removed: Keys that are left out with all that stands under them.
    """

    def __init__(
        self,
        pseudonym: Callable[[str], str],
        *,
        meant: Collection[str] | None = None,
        sought: re.Pattern[str] | None = None,
        removed: Collection[str] = REMOVED,
    ) -> None:
        self._pseudonym = pseudonym
        self._meant = meant
        self._sought = sought
        self._removed = removed

    def record(self, record: dict[str, Any]) -> dict[str, Any]:
        """A line that was read, with pseudonyms."""
        return {
            key: self._under("event_type" if key == "name" else key, inner, is_person=names_person(key), texts=0)
            for key, inner in record.items()
            if key not in self._removed
        }

    def name(self, name: str) -> str:
        """The pseudonym of a name, if it is meant; else the name."""
        return self._pseudonym(name) if self._meant is None or normal_name(name) in self._meant else name

    def sentence(self, text: str) -> str:
        """A text with pseudonyms for the names that are sought in it."""
        if self._sought is None:
            return text
        return self._sought.sub(lambda found: self._pseudonym(found[0]) if found.lastgroup is None else found[0], text)

    def _value(self, value: Any, *, is_person: bool, texts: int, is_map: bool = False) -> Any:
        """A value of JSON with pseudonyms.

        Args:
            value: The value.
            is_person: Whether it stands under a key that names somebody.
            texts: In how many texts it stands.
            is_map: Whether that key names several, so that the keys of an object are their names.
        """
        if isinstance(value, dict):
            return {
                self._key(key, is_person=is_person, is_map=is_map): self._under(
                    key, inner, is_person=names_person(key) or (is_person and key in OWN_KEYS), texts=texts
                )
                for key, inner in value.items()
                if key not in self._removed
            }
        if isinstance(value, list):
            return [self._value(inner, is_person=is_person, texts=texts) for inner in value]
        if isinstance(value, str):
            return self._named(value, texts) if is_person else self._text(value, texts, is_sentence=True)
        if is_person and type(value) in (int, float):
            text = str(int(value) if value == value // 1 else value)
            renamed = self.name(text)
            return value if renamed == text else renamed
        return value

    def _under(self, key: str, inner: Any, *, is_person: bool, texts: int) -> Any:
        """What stands under a key."""
        if key in _KEPT and isinstance(inner, str):
            return self._text(inner, texts)
        return self._value(inner, is_person=is_person, texts=texts, is_map=names_person(key) and key.endswith("s"))

    def _key(self, key: str, *, is_person: bool, is_map: bool) -> str:
        if not is_person or key in OWN_KEYS:
            return key
        if self._meant is None and (not is_map or names_person(key)):
            return key
        return self.name(key)

    def _named(self, text: str, texts: int) -> str:
        """A text that is somebody's name: no sentence, in which another person's longer name has this one's in it."""
        renamed = self.name(text) if text else text
        return self._text(text, texts) if renamed == text else renamed

    def _text(self, text: str, texts: int, *, is_sentence: bool = False) -> str:
        """A text with pseudonyms for who is named in JSON, forms, e-mail addresses and paths; and in a sentence."""
        if texts < MAX_TEXTS and text[:1] in ("{", "["):
            try:
                value = read(text)
            except (ValueError, RecursionError):
                pass
            else:
                renamed = self._value(value, is_person=False, texts=texts + 1)
                return text if renamed == value else write_like(text, renamed)
        if '"' in text:
            # JSON that was cut.
            text = PAIR.sub(self._pair, text)
        if "=" in text and len(text) <= MAX_FORM and texts < MAX_TEXTS:
            text = self._form(text, texts)
        if "@" in text or "%40" in text:
            text = EMAIL.sub(self._email, text)
        if "/" in text:
            text = IN_PATH.sub(self._in_path, text)
        return self.sentence(text) if is_sentence else text

    def _pair(self, found: re.Match[str]) -> str:
        start = found.start(2) - found.start()
        return found[0] if not names_person(found[1]) else found[0][:start] + self.name(found[2])

    def _email(self, found: re.Match[str]) -> str:
        address = unquote(found[0])
        renamed = self.name(address)
        return found[0] if renamed == address else renamed

    def _in_path(self, found: re.Match[str]) -> str:
        raw = _BEHIND_USER.sub("", found[1])
        name, start = unquote(raw), found.start(1) - found.start()
        renamed = self.name(name)
        return found[0] if renamed == name else found[0][:start] + renamed + found[0][start + len(raw) :]

    def _form(self, text: str, texts: int) -> str:
        """A form, or an address with one, in which only what has people in it is written anew."""
        before, mark, query = text.rpartition("?")
        return before + mark + "&".join(self._field(field, texts) for field in query.split("&"))

    def _field(self, field: str, texts: int) -> str:
        key, equals, raw = field.partition("=")
        value = unquote_plus(raw)
        renamed = self._value(value, is_person=names_person(unquote_plus(key)), texts=texts + 1)
        return field if renamed == value else key + equals + quote_plus(renamed)


def keep_course(record: dict[str, Any]) -> dict[str, Any]:
    """A line with the course of its page in the context, since the page's address goes."""
    context = record.get("context")
    if not isinstance(context, dict) or context.get("course_id"):
        return record
    is_of_page = record.get("event_source") == "browser"
    found = course_fields(record.get("page" if is_of_page else "event_type"))
    return record | {"context": context | found} if found else record
