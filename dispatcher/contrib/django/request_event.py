"""Request event: what edX emits for each request: its path as the name, and what was sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from dispatcher import tracker
from dispatcher.event import MAX_NAME_CHARACTERS
from dispatcher.secrecy.secret_names import is_secret

if TYPE_CHECKING:
    from django.http import HttpRequest

#: Bytes of a form that is looked into, and characters of a value and values of a request that an event has. edX's own
#: events were cut in the middle of their JSON.
_MAX_FORM: Final = 65_536
_MAX_CHARACTERS: Final = 1_000
_MAX_VALUES: Final = 200
_MASK: Final = "********"
# Forms with files are left alone: views may want to stream them.
_FORM: Final = "application/x-www-form-urlencoded"


def emit_request(request: HttpRequest, ignored: Iterable[re.Pattern[str]]) -> None:
    """Emit ``{"GET": {…}, "POST": {…}}`` under the path as the name, with the values of secrets masked.

    Args:
        request: Of which a small form is read, but no other body, so that views can read it.
        ignored: Paths without an event; each pattern is looked for at the start of a path.
    """
    path = request.path_info
    if any(pattern.match(path) for pattern in ignored):
        return
    name = "".join(character if character.isprintable() else "?" for character in path[:MAX_NAME_CHARACTERS])
    tracker.emit(name, {"GET": _mask(request.GET), "POST": _mask(_form_of(request))})


def _form_of(request: HttpRequest) -> Mapping[str, Any]:
    length = str(request.META.get("CONTENT_LENGTH") or "0")
    if request.method != "POST" or request.content_type != _FORM or not length.isdecimal() or int(length) > _MAX_FORM:
        return {}
    try:
        form: Mapping[str, Any] = request.POST
    except Exception:  # a broken form, or a client that has gone: Django answers that when a view asks
        return {}
    return form


def _mask(fields: Mapping[str, Any]) -> dict[str, list[str]]:
    masked: dict[str, list[str]] = {}
    left = _MAX_VALUES
    for name in fields:
        values = fields.getlist(name)[:left]  # type: ignore[attr-defined]
        hidden = is_secret(name)
        masked[name[:_MAX_CHARACTERS]] = [_MASK if hidden else str(value)[:_MAX_CHARACTERS] for value in values]
        left -= len(values)
        if left <= 0:
            break
    return masked
