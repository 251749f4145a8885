"""Safe text: what somebody else wrote, as it may stand in a line of a log, a file or a terminal. Pure.

Names of events and files, settings and errors of vendors may hold anything: an escape sequence that rewrites the
screen, a character that reverses what follows it, a line break that a reader of lines takes for the end of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from dispatcher.secrecy.masking import mask_addresses, mask_url

# Controls (C0 without tab and line feed, DEL, C1), line and paragraph separators, what turns or hides text (Unicode's
# Bidi_Control, zero-width characters, tags), and halves of surrogate pairs, which UTF-8 cannot express. The joiners
# U+200C and U+200D stay: Persian and emoji are written with them.
_CLASS: Final = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e0fff"
)
_UNSAFE: Final = re.compile(f"[{_CLASS}]")
_UNSAFE_IN_LINE: Final = re.compile(rf"[\t\n{_CLASS}]")
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")
# All that str.splitlines and terminals take for the end of a line, and tabs.
_BREAKS: Final = re.compile(r"[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]+")
# The same without what JSON escapes by itself. As UTF-8, for payloads.
_UNSAFE_BYTES: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")


def safe_lines(text: str, encoding: str | None = None) -> str:
    """The text with every character escaped that could do something to a terminal; tabs and line feeds stay.

    The form is JSON's, ``\\u001b``: JSON stays JSON.

    Args:
        text: Anything.
        encoding: That of a terminal or a file, which may not have all characters; None stands for UTF-8.
    """
    if text.isascii() and text.isprintable():
        return text
    text = _UNSAFE.sub(_escape, text)
    try:
        text.encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return _BEYOND_ASCII.sub(_escape, text)
    return text


def one_line(text: str, limit: int | None = None) -> str:
    """The text as one line: line breaks and tabs become blanks, other controls are escaped.

    Args:
        text: Anything.
        limit: The most characters; what is longer is cut in its middle. None for no limit.
    """
    line = _UNSAFE_IN_LINE.sub(_escape, _BREAKS.sub(" ", text).strip())
    return line if limit is None else shorten(line, limit)


def foreign_text(text: str, limit: int = 300) -> str:
    """A text that somebody else wrote, such as a vendor's error: one line without credentials and addresses.

    Args:
        text: Anything.
        limit: The most characters.
    """
    # The whole is masked first, since half a URL would not be known as one. Nobody writes a longer message.
    return one_line(mask_addresses(mask_url(text[:100_000])), limit)


def shorten(text: str, limit: int) -> str:
    """The text in at most so many characters: the middle gives way, since an error ends with its cause."""
    if len(text) <= limit:
        return text
    end = (limit - 1) // 2
    return f"{text[: limit - 1 - end]}…{text[len(text) - end :]}"


def to_json(value: Any, *, indent: int | None = None, default: Callable[[Any], Any] | None = None) -> str:
    """JSON for a terminal or a line of a file: letters of any script as they are, unsafe characters as ``\\u001b``."""
    text = json.dumps(value, indent=indent, default=default, ensure_ascii=False)
    return _UNSAFE.sub(_escape, text)


def escape_payload(payload: bytes) -> bytes:
    """JSON in UTF-8 with the unsafe characters inside its texts escaped; the very same object if it has none.

    JSON escapes the controls below U+0020 itself. Readers of lines, such as ``str.splitlines`` and JavaScript before
    2019, also end one at U+0085, U+2028 and U+2029.
    """
    # Nearly all payloads are ASCII, for which this is one pass over memory.
    if payload.isascii() and b"\x7f" not in payload:
        return payload
    return _UNSAFE_BYTES.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), payload)


def _escape(found: re.Match[str]) -> str:
    # As JSON has it, so that JSON which is printed stays JSON: beyond U+FFFF there are two halves.
    return "".join(f"\\u{unit:04x}" for unit in memoryview(found[0].encode("utf-16", "surrogatepass")[2:]).cast("H"))
