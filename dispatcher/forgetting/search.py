"""Search: the lines of a log that name a person: found by their bytes, then read, so that others cost little."""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import quote

import msgspec

from dispatcher.forgetting.person import Person

_decode: Final = msgspec.json.Decoder().decode
# What may stand before or behind a name that is a word of its own.
_WORD: Final = re.compile(rb"[0-9A-Za-z]")
# Where a number is a user's although nothing can be read: behind a key that says so.
_BEHIND_USER_KEY: Final = rb'(user[A-Za-z_]{0,20}[\\"]{0,8}[ ]?[:=][ ]?[\\"]{0,8})'
# How deep text may stand in text that stands in text, each time with its escapes escaped again.
_ESCAPED: Final = 3


class LineSearch:
    """Finds the lines that name a person. Pure.

    Args:
        person: Who is looked for.
    """

    def __init__(self, person: Person) -> None:
        self._person = person
        self._needles = sorted({needle for name in person.identifiers if "@" not in name for needle in _bytes_of(name)})
        self._in_small = sorted(
            {needle.lower() for name in person.identifiers if "@" in name for needle in _bytes_of(name)}
        )

    def find(self, block: bytes, end: int | None = None) -> list[tuple[int, int]]:
        """The lines of a block that name the person: where each begins, and where the next one does, in order.

        Args:
            block: Lines, the first of them whole.
            end: Where the last whole line ends; None where all are whole.
        """
        end = len(block) if end is None else end
        found: dict[int, int] = {}
        for needle in self._needles:
            self._find(block, block, needle, end, found)
        # Most blocks have no e-mail address, and need not be looked through in small letters.
        if self._in_small and (b"@" in block or (b"%" in block and b"%40" in block)):
            small = block.lower()
            for needle in self._in_small:
                self._find(block, small, needle, end, found)
        return sorted((start, end) for start, end in found.items() if end)

    def _find(self, block: bytes, searched: bytes, needle: bytes, behind: int, found: dict[int, int]) -> None:
        """Look for one needle. Lines that were read before, for another needle, are not read again."""
        at, size = searched.find(needle, 0, behind), len(needle)
        while at >= 0:
            # A name within a longer word is another name; most numbers that are found are parts of times and ids.
            if _WORD.match(searched, at + size) or (
                at and _WORD.match(searched, at - 1) and not _is_escape(searched, at)
            ):
                at = searched.find(needle, at + 1, behind)
                continue
            start = block.rfind(b"\n", 0, at) + 1
            end = block.find(b"\n", at) + 1 or len(block)
            if start not in found:
                found[start] = end if self.is_named_in(block[start:end]) else 0
            at = searched.find(needle, end, behind)

    def is_named_in(self, line: bytes) -> bool:
        """Whether a line names the person: one that can be read, by what it says; a broken one by its words."""
        start = line.find(b"{")
        body = line[max(0, start) :]
        try:
            return self._person.is_named_in(_decode(body))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            pass
        try:
            return self._person.is_named_in(json.loads(body))
        except (ValueError, RecursionError):
            return self._is_in_broken(line)

    def blank(self, content: bytes, blank: bytes) -> bytes:
        """What a log does not hold, such as damaged bytes, with each of the person's names blanked, and nothing else.

        Args:
            content: Any bytes.
            blank: One byte.
        """
        for name in sorted(self._person.identifiers, key=len, reverse=True):
            for needle in _bytes_of(name):
                before = _BEHIND_USER_KEY if name.isdecimal() else rb"((?<![0-9A-Za-z]))"
                hidden = rb"\g<1>" + blank * len(needle)
                content = re.sub(before + re.escape(needle) + rb"(?![0-9A-Za-z])", hidden, content, flags=re.IGNORECASE)
        return content

    def _is_in_broken(self, line: bytes) -> bool:
        """A broken line is nobody's record: where a name stands in it, or a number behind a user's key, it goes."""
        small = line.lower()
        for name in self._person.identifiers:
            if not name.isdecimal():
                if any(needle.lower() in small for needle in _bytes_of(name)):
                    return True
            elif re.search(_BEHIND_USER_KEY + name.encode() + rb"(?![0-9])", small):
                return True
        return False


def _is_escape(block: bytes, at: int) -> bool:
    r"""Whether what stands before is an escape's letter, as in ``\nada``."""
    return block[at - 2 : at - 1] == b"\\" or block[at - 3 : at - 2] == b"%"


def forms_of(name: str) -> list[str]:
    """The forms in which a name may stand in a log: as it is, in JSON's escapes, in those of addresses."""
    forms, text = [name], name
    for _ in range(_ESCAPED):
        text = json.dumps(text)[1:-1]
        forms.append(text)
    for form in (name, name.lower()):
        forms += [quote(form, safe=safe, errors="replace") for safe in ("", "/", "@", "+", ":/@+")]
    return list(dict.fromkeys(forms))


def _bytes_of(name: str) -> list[bytes]:
    return [form.encode(errors="replace") for form in forms_of(name)]
