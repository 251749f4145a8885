"""Answers: reads what a server sent, as strictly as RFC 9112 has it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_STATUS: Final = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\x20-\x7e]*")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff]*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """One of them; the headers' names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_answers(data: bytes, *, is_whole: bool, has_bodies: bool = True) -> tuple[list[Answer], bytes]:
    """The answers that are complete, and what is left.

    Args:
        data: All that came.
        is_whole: Whether nothing more comes: an answer without a length ends there.
        has_bodies: False for answers to HEAD.

    Raises:
        ValueError: It is no HTTP.
    """
    answers = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            break
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        if status is None:
            raise ValueError(f"no status line: {first[:80]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            header = _HEADER.fullmatch(line)
            if header is None:
                raise ValueError(f"no header: {line[:80]!r}")
            headers[header[1].decode().lower()] = header[2].decode("latin-1")
        code = int(status[1])
        length = int(headers.get("content-length", -1))
        if code == 100:
            data = rest
            continue
        if not has_bodies or code in (204, 304):
            length = 0
        elif length < 0 and headers.get("connection") != "close":
            raise ValueError(f"an answer of {code} without a length, on a connection that goes on")
        if length > len(rest) or (length < 0 and not is_whole):
            break
        length = len(rest) if length < 0 else length
        answers.append(Answer(code, headers, rest[:length]))
        data = rest[length:]
    return answers, data
