"""Search: the lines of a log that name a person: found by their bytes, then read, so that others cost little."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
        addresses = {needle for name in person.identifiers if "@" in name for needle in _bytes_of(name)}
        self._addresses = [_Address(form) for form in sorted({needle.lower() for needle in addresses})]

    def find(self, block: bytes, end: int | None = None) -> list[tuple[int, int]]:
        """The lines of a block that name the person: where each begins, and where the next one does, in order.

        Args:
            block: Lines, the first of them whole.
            end: Where the last whole line ends; None where all are whole.
        """
        end = len(block) if end is None else end
        found: dict[int, int] = {}
        for needle in self._needles:
            self._find(block, needle, end, found)
        for address in self._addresses:
            for first, last in address.places(block, end):
                self._look_at(block, first, last, found)
        return sorted((start, end) for start, end in found.items() if end)

    def _find(self, block: bytes, needle: bytes, behind: int, found: dict[int, int]) -> None:
        at, size = block.find(needle, 0, behind), len(needle)
        while at >= 0:
            end = self._look_at(block, at, at + size, found)
            at = block.find(needle, end or at + 1, behind)

    def _look_at(self, block: bytes, first: int, last: int, found: dict[int, int]) -> int:
        """Read the line in which a name stands; where it ends. 0 where the name is a part of another word.

        Lines that were read before, for another name, are not read again.
        """
        # Most numbers that are found are parts of times and ids.
        if _WORD.match(block, last) or (first and _WORD.match(block, first - 1) and not _is_escape(block, first)):
            return 0
        start = block.rfind(b"\n", 0, first) + 1
        end = block.find(b"\n", first) + 1 or len(block)
        if start not in found:
            found[start] = end if self.is_named_in(block[start:end]) else 0
        return end

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


class _Address:
    """Finds an e-mail address, in large and small letters.

    It begins with the one byte that must be there, which ``re`` looks for as fast as ``find``, and looks back from
    there: to make small letters of every block takes as long as three searches.

    Args:
        form: One of the forms in which it may stand in a log.
    """

    def __init__(self, form: bytes) -> None:
        self._mark = b"@" if b"@" in form else b"%"
        self._before = form.rindex(b"@" if b"@" in form else b"%40")
        before, behind = re.escape(form[: self._before]), re.escape(form[self._before + 1 :])
        self._pattern = re.compile(b"%b(?<=(?i:%b)%b)(?i:%b)" % (self._mark, before, self._mark, behind))

    def places(self, block: bytes, end: int) -> Iterator[tuple[int, int]]:
        """Where it stands in a block that is looked through up to ``end``: its first byte, and the one behind it."""
        # Few blocks have a percent sign, and this look is faster still.
        if self._mark not in block:
            return
        for hit in self._pattern.finditer(block, 0, end):
            yield hit.start() - self._before, hit.end()


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
