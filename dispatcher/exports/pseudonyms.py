"""Pseudonyms: other names for the people in a log's lines, and no more of what gives them away."""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.request.course import course_fields
from dispatcher.suppression.names import EMAIL, IN_PATH, OWN_KEYS, names_person

_KEY_BYTES: Final = 32
_PSEUDONYM_CHARACTERS: Final = 32
_FINGERPRINT_CHARACTERS: Final = 12
# What edX takes out of logs that it gives to researchers: where somebody was and with what, what was uploaded, and
# addresses, which may name anybody. Sought at every depth.
_REMOVED: Final = frozenset(
    (
        *("ip", "host", "page", "referer", "referrer", "path", "device", "url", "url_name", "source_url", "report_url"),
        *("GET", "POST", "certificate_id", "certificate_url", "fileName", "file_upload_key", "uploaded_file"),
    )
)
# A person's own names, which are sought in sentences too.
_OWN_NAMES: Final = ("username", "email", "name")
_MIN_NAME_CHARACTERS: Final = 3
_MAX_FORM: Final = 65_536
# JSON within JSON within JSON: a browser's event has it once.
_MAX_TEXTS: Final = 4

_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


class Pseudonyms:
    """Gives people other names: the same person the same one, as long as the key is the same. Pure, and picklable.

    Args:
        key: At least 16 bytes. Who has it can tell which person has which pseudonym; without it, nobody can.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def fingerprint(self) -> str:
        """Says which key it is, and nothing about the key."""
        return hmac.digest(self._key, b"fingerprint", sha256).hex()[:_FINGERPRINT_CHARACTERS]

    def name(self, name: str) -> str:
        """The pseudonym of a name, an id or an address: 32 hexadecimal digits of its HMAC-SHA-256 (RFC 2104)."""
        meant = name.lower() if "@" in name else name
        return hmac.digest(self._key, meant.encode(errors="replace"), sha256).hex()[:_PSEUDONYM_CHARACTERS]

    def line(self, line: bytes) -> bytes:
        """A line with pseudonyms, as JSON without what stood before it. Takes some 50 µs.

        What stands under a key that names a person gets a pseudonym, also in text that is JSON or a form; so do e-mail
        addresses and users in paths wherever they stand, and the names of the one who acted in any text. Addresses of
        pages and machines are left out; the course that a page's address says is kept as ``course_id``.

        Args:
            line: A line of a log.

        Returns:
            What cannot be read comes back as it is: it becomes no row.
        """
        start = line.find(b"{")
        if start < 0:
            return line
        try:
            record = _read(line[start:])
        except (ValueError, RecursionError):
            return line
        if not isinstance(record, dict):
            return line
        _keep_course(record)
        return _encode(_Renaming(self, record).value(record, is_person=False, texts=0))


class _Renaming:
    """The renaming of one line."""

    def __init__(self, pseudonyms: Pseudonyms, record: dict[str, Any]) -> None:
        self._name = pseudonyms.name
        own = sorted(set(_own_names(record)), key=len, reverse=True)
        self._own = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, own))})(?!\w)") if own else None

    def value(self, value: Any, *, is_person: bool, texts: int, is_map: bool = False) -> Any:
        """A value of JSON with pseudonyms.

        Args:
            value: The value.
            is_person: Whether it stands under a key that names somebody.
            texts: In how many texts it stands.
            is_map: Whether that key names several, so that the keys of an object are their names.
        """
        if isinstance(value, dict):
            return {
                self._name(key) if is_map and not (key in OWN_KEYS or names_person(key)) else key: self.value(
                    inner,
                    is_person=names_person(key) or (is_person and key in OWN_KEYS),
                    texts=texts,
                    is_map=names_person(key) and key.endswith("s"),
                )
                for key, inner in value.items()
                if key not in _REMOVED
            }
        if isinstance(value, list):
            return [self.value(inner, is_person=is_person, texts=texts) for inner in value]
        if isinstance(value, str):
            if is_person:
                return self._name(value) if value else value
            return self._text(value, texts)
        if is_person and type(value) in (int, float):
            return self._name(str(int(value) if value == value // 1 else value))
        return value

    def _text(self, text: str, texts: int) -> str:
        if texts < _MAX_TEXTS:
            if text[:1] in ("{", "["):
                try:
                    found = _read(text.encode())
                except (ValueError, RecursionError):
                    pass
                else:
                    return _encode(self.value(found, is_person=False, texts=texts + 1)).decode()
            if "=" in text and len(text) <= _MAX_FORM:
                text = self._form(text, texts)
        if "@" in text or "%40" in text:
            text = EMAIL.sub(lambda found: self._name(found[0].replace("%40", "@")), text)
        if "/" in text:
            text = IN_PATH.sub(self._rename_in_path, text)
        return text if self._own is None else self._own.sub(lambda found: self._name(found[0]), text)

    def _rename_in_path(self, found: re.Match[str]) -> str:
        # As in enrollment/NAME,COURSE.
        name, comma, rest = found[1].partition(",")
        return found[0][: found.start(1) - found.start()] + self._name(unquote(name)) + comma + rest

    def _form(self, text: str, texts: int) -> str:
        """A form, or an address with one, with pseudonyms for its people; anything else as it is."""
        before, mark, query = text.rpartition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        if not any(names_person(key) for key, _ in pairs):
            return text
        renamed = [(key, self.value(one, is_person=names_person(key), texts=texts + 1)) for key, one in pairs]
        return before + mark + urlencode(renamed)


def _own_names(record: dict[str, Any]) -> Iterator[str]:
    context = record.get("context")
    for place in (record, context if isinstance(context, dict) else {}):
        for key in _OWN_NAMES:
            name = place.get(key) if key != "name" or place is not record else None
            if isinstance(name, str) and len(name) >= _MIN_NAME_CHARACTERS:
                yield name


def _keep_course(record: dict[str, Any]) -> None:
    """Write the course of a page into the context, since the page's address goes."""
    context = record.get("context")
    if isinstance(context, dict) and not context.get("course_id"):
        is_of_page = record.get("event_source") == "browser"
        record["context"] = context | course_fields(record.get("page" if is_of_page else "event_type"))


def _read(body: bytes) -> Any:
    """JSON, also as Python's logger writes it. Raises ValueError, RecursionError."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(body)


def read_key(path: Path) -> bytes:
    """The key in a file, which is made where it is missing, for its owner alone.

    Raises:
        DispatcherError: The file holds something else, or cannot be read or made.
    """
    try:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        key = bytes.fromhex(path.read_text())
    except OSError as error:
        raise DispatcherError(f"the key of the pseudonyms cannot be read: {error}") from None
    except ValueError:
        key = b""
    if len(key) < _KEY_BYTES:
        raise DispatcherError(
            f"{path} does not hold a key of pseudonyms, 64 hexadecimal digits: name a new file, and it is made"
        )
    return key
