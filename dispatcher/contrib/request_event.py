"""Request event: what edX emits for each request, whatever the framework: its path as the name, and what was sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from dispatcher import tracker
from dispatcher.event import MAX_NAME_CHARACTERS
from dispatcher.secrecy.secret_names import is_secret

#: What edX ignores: requests that say nothing, or that have events of their own.
IGNORED: Final = (r"^/event", r"^/segmentio/event", r"^/login", r"^/heartbeat")
#: Bytes of a query or a form that is looked into, and characters of a value and values of a request that an event has.
#: edX's own events were cut in the middle of their JSON.
MAX_FORM: Final = 65_536
_MAX_CHARACTERS: Final = 1_000
_MAX_VALUES: Final = 200
_MASK: Final = "********"
# Forms with files are left alone: apps may want to stream them.
_FORM: Final = "application/x-www-form-urlencoded"

Fields = Iterable[tuple[str, Sequence[Any]]]


class RequestEvents:
    """Emits an event for each request. Safe in threads, and after a fork.

    Args:
        ignored: Regular expressions; a path that one of them matches at its start has no event.

    Raises:
        TypeError: ``ignored`` is one text, or a pattern is something else than a text.
        ValueError: A pattern cannot be compiled.
    """

    def __init__(self, ignored: Iterable[str] = IGNORED) -> None:
        if isinstance(ignored, str):
            raise TypeError("it must be a list of regular expressions, not a text")
        try:
            self._ignored = tuple(re.compile(pattern) for pattern in ignored)
        except re.error as error:
            raise ValueError(f"{str(error.pattern)[:80]!r} cannot be compiled: {error.msg}") from error

    def ignores(self, path: str) -> bool:
        """Whether requests of this path have no event."""
        return any(pattern.match(path) for pattern in self._ignored)

    def emit(self, path: str, query: Fields, form: Fields) -> None:
        """Emit ``{"GET": {…}, "POST": {…}}`` under the path as the name, with the values of secrets masked.

        Args:
            path: Within the app. What cannot be printed becomes a question mark.
            query: Each name of the query with its values.
            form: The same of the form.
        """
        name = "".join(character if character.isprintable() else "?" for character in path[:MAX_NAME_CHARACTERS])
        tracker.emit(name or "/", {"GET": _mask(query), "POST": _mask(form)})


def form_length(method: str, content_type: str, content_length: str) -> int:
    """How many bytes to read of a request's body as a form; 0 for what is large, of unknown length, or no such form."""
    if method != "POST" or content_type.partition(";")[0].strip().lower() != _FORM:
        return 0
    # More digits are more than any form has, and Python converts no more than 4,300.
    length = int(content_length) if content_length.isdecimal() and len(content_length) <= 9 else 0
    return length if length <= MAX_FORM else 0


def read_fields(encoded: bytes) -> Fields:
    """The names and values of a query or a form, in their order; bytes that are not UTF-8 are replaced."""
    fields: dict[str, list[str]] = {}
    text = encoded[:MAX_FORM].decode("utf-8", "replace")
    for name, value in parse_qsl(text, keep_blank_values=True, errors="replace"):
        fields.setdefault(name, []).append(value)
    return fields.items()


def _mask(fields: Fields) -> Mapping[str, list[str]]:
    masked: dict[str, list[str]] = {}
    left = _MAX_VALUES
    for name, values in fields:
        hidden = is_secret(name)
        shown = values[:left]
        masked[name[:_MAX_CHARACTERS]] = [_MASK if hidden else str(value)[:_MAX_CHARACTERS] for value in shown]
        left -= len(shown)
        if left <= 0:
            break
    return masked
