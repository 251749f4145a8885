"""Codes: what ClickHouse's exceptions mean for events. Pure.

Numbers are those of https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp. The header
X-ClickHouse-Exception-Code has one; so has the text, also where it comes behind a status of 200.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dispatcher.outcomes import INVALID, Dead, RetryAfter

if TYPE_CHECKING:
    from dispatcher.outcomes import Outcome
    from dispatcher.tasks.destinations.http import Answer

_HEADER: Final = "X-ClickHouse-Exception-Code"
_TEXT: Final = re.compile(rb"Code: (\d{1,5})\. DB::[A-Za-z]*Exception")
_NAME: Final = re.compile(rb"\(([A-Z][A-Z0-9_]{2,60})\)")

_CREATE: Final = "create the table as docs/destinations/clickhouse.md has it"
_GRANT: Final = "let this user insert into the table, and select from it"
# The settings, the account or the table is wrong: no event would be taken.
_SETUP: Final = {
    16: "the table lacks a column",
    36: "a setting or the table is not as it has to be",
    46: "a function is missing",
    47: "the table lacks a column",
    60: _CREATE,
    62: "the table's name is not one",
    73: "this server does not know JSONEachRow",
    81: "create the database",
    115: "this server does not know one of the settings",
    164: "the user may only read",
    192: "correct user and password",
    193: "correct user and password",
    194: "correct user and password",
    195: "let the workers' addresses in",
    291: _GRANT,
    497: _GRANT,
    516: "correct user and password",
}
# There is too much at a time: parts, queries, memory, or what a quota allows.
_THROTTLED: Final = frozenset({201, 202, 241, 252, 439, 734})
# A row cannot be read, or does not fit its column.
_INVALID: Final = frozenset(
    {
        6,
        7,
        25,
        26,
        27,
        32,
        33,
        38,
        41,
        43,
        53,
        69,
        70,
        72,
        117,
        130,
        131,
        190,
        321,
        349,
        376,
        441,
        457,
        467,
        469,
        652,
        675,
    }
)


def outcome_of_exception(answer: Answer, *, label: str) -> Outcome | None:
    """The outcome of the rows of a request that ended with an exception; None for one that did not.

    Args:
        answer: What came.
        label: What the error calls the destination.
    """
    code = code_of(answer)
    if code is None:
        return None
    name = _NAME.findall(answer.body[:100_000])
    error = f"{label} says {name[-1].decode() if name else 'code'} ({code})"
    if code in _INVALID:
        return Dead(INVALID, error)
    if code in _SETUP:
        return RetryAfter(f"{error}: {_SETUP[code]}", None, "setup")
    return RetryAfter(error, None, "throttled" if code in _THROTTLED else "transient")


def code_of(answer: Answer) -> int | None:
    """The number of the exception that a request ended with; None without one."""
    header = answer.headers.get(_HEADER, "")
    if header.isascii() and header.isdecimal() and len(header) < 6:
        return int(header) or None
    found = _TEXT.search(answer.body)
    return None if found is None else int(found[1])
