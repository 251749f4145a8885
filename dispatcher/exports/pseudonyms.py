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

import msgspec

from dispatcher.errors import DispatcherError
from dispatcher.exports.renaming import Renaming, keep_course
from dispatcher.suppression.names import normal_name

_KEY_BYTES: Final = 32
# Hexadecimal digits of a name's HMAC in a pseudonym, and of that one's own behind them: by these who has the key knows
# a pseudonym, and gives it none.
_NAME_CHARACTERS: Final = 24
_CHECK_CHARACTERS: Final = 8
_PSEUDONYM: Final = re.compile(f"[0-9a-f]{{{_NAME_CHARACTERS + _CHECK_CHARACTERS}}}")
_FINGERPRINT_CHARACTERS: Final = 12
# A person's own names, which are sought in sentences too.
_OWN_NAMES: Final = ("username", "email", "name")
_MIN_NAME_CHARACTERS: Final = 3

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
        """The pseudonym of a name, an id or an address: 32 hexadecimal digits by HMAC-SHA-256 (RFC 2104).

        A pseudonym of this key is its own: what has pseudonyms already comes out of an export as it is.
        """
        if _PSEUDONYM.fullmatch(name) and name == self._checked(name[:_NAME_CHARACTERS]):
            return name
        return self._checked(self._digest(normal_name(name), _NAME_CHARACTERS))

    def _checked(self, name: str) -> str:
        return name + self._digest(f"pseudonym {name}", _CHECK_CHARACTERS)

    def _digest(self, text: str, characters: int) -> str:
        return hmac.digest(self._key, text.encode(errors="replace"), sha256).hex()[:characters]

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
        own = sorted(set(_own_names(record)), key=len, reverse=True)
        sought = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, own))})(?!\w)") if own else None
        return _encode(Renaming(self.name, sought=sought).record(keep_course(record)))


def _own_names(record: dict[str, Any]) -> Iterator[str]:
    context = record.get("context")
    for place in (record, context if isinstance(context, dict) else {}):
        for key in _OWN_NAMES:
            name = place.get(key) if key != "name" or place is not record else None
            if isinstance(name, str) and len(name) >= _MIN_NAME_CHARACTERS:
                yield name


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
