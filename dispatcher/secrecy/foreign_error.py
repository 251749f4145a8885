"""Foreign error: an exception of somebody else's code as it may be shown: its type and its place, never its text.

Texts of exceptions quote what the code worked on: URLs with their keys, addresses, whole requests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePath
from traceback import walk_tb
from types import FrameType
from typing import Any, Final, cast

from dispatcher.secrecy.safe_text import one_line

# A chain of causes is cut here; it may be a loop.
_MAX_CAUSES: Final = 5
_MAX_FRAMES: Final = 50
_MAX_NAME: Final = 80
# This package's own frames say nothing about the error.
_OWN: Final = ("dispatcher.", "celery.", "billiard.", "_pytest.", "pluggy.")


# Of type itself: a metaclass may have put its own in their place, which may raise.
_read_name: Final[Any] = type.__dict__["__name__"].__get__


def type_name(value: object) -> str:
    """The name of a value's type, as one line of at most 80 characters. Runs no code of value, class or metaclass."""
    return one_line(cast("str", _read_name(type(value))), _MAX_NAME)


def describe_error(error: BaseException) -> str:
    """The type of an error, what the operating system says of it, its causes' types, and where it was raised.

    Args:
        error: Raised by code that is not ours. Its text, its notes and its arguments are not read.

    Returns:
        Such as ``KeyError, raised in acme/crm.py:42 (deliver)``.
    """
    causes = [_type_and_cause(cause) for cause in _chain(error)]
    text = " after ".join(causes)
    frames = list(walk_tb(error.__traceback__))
    foreign = [pair for pair in frames if not f"{pair[0].f_globals.get('__name__', '')}.".startswith(_OWN)] or frames
    if not foreign:
        return text
    places = list(dict.fromkeys((_place(*foreign[0]), _place(*foreign[-1]))))
    return f"{text}, raised in {', called from '.join(reversed(places))}"


def describe_traceback(error: BaseException) -> str:
    """The frames of an error and of its causes, a line each, for a log: files and functions, no texts, no source."""
    lines: list[str] = []
    for cause in _chain(error):
        lines.append(_type_and_cause(cause))
        frames = list(walk_tb(cause.__traceback__))[-_MAX_FRAMES:]
        lines += [f"  {_place(frame, line)}" for frame, line in frames]
    return "\n".join(lines)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(seen) < _MAX_CAUSES:
        seen.add(id(current))
        yield current
        current = current.__cause__ or _context(current)


def _context(error: BaseException) -> BaseException | None:
    """The error in whose handling this one was raised; not one that somebody further up is handling all the while."""
    context = None if error.__suppress_context__ else error.__context__
    if context is None or context.__traceback__ is None:
        return None
    # What handled it: the traceback of what was raised there comes through the same frame.
    handler = context.__traceback__.tb_frame
    return context if any(frame is handler for frame, _ in walk_tb(error.__traceback__)) else None


def _type_and_cause(error: BaseException) -> str:
    name = type_name(error)
    # requests' errors are OSErrors too, and carry their text where others have a number.
    number = error.errno if isinstance(error, OSError) else None
    return f"{name} ({os.strerror(number)})" if type(number) is int and number > 0 else name


def _place(frame: FrameType, line: int) -> str:
    # Two parts of the path: a whole one has the names of users in it.
    file = "/".join(PurePath(frame.f_code.co_filename).parts[-2:])
    return one_line(f"{file}:{line} ({frame.f_code.co_name})")
