"""Conf: ``DISPATCHER`` of Django's settings, read once, with all that is wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings as django_settings
from django.utils.module_loading import import_string

from dispatcher.contrib.request_context import Hook, RequestContext
from dispatcher.contrib.request_event import RequestEvents
from dispatcher.secrecy.foreign_error import describe_error, type_name


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        id: Of the system check, such as ``dispatcher.E002``.
        text: What it is.
        hint: What to do.
    """

    id: str
    text: str
    hint: str


@dataclass(slots=True)
class Configuration:
    """What ``DISPATCHER`` says.

    Args:
        fields: Makes a request's context.
        hook: ``CONTEXT``.
        emits_requests: ``REQUEST_EVENTS``.
        request_events: Of ``IGNORE_PATHS``.
        overrides: ``SETTINGS``, for ``dispatcher.configure``.
        problems: What is wrong, and was left out.
    """

    fields: RequestContext = field(default_factory=RequestContext)
    hook: Hook | None = None
    emits_requests: bool = False
    request_events: RequestEvents = field(default_factory=RequestEvents)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_configuration() -> Configuration:
    """Read ``DISPATCHER``. Imports what ``CONTEXT`` names; raises nothing."""
    given = getattr(django_settings, "DISPATCHER", {})
    read = Configuration()
    if not isinstance(given, Mapping):
        text = f"DISPATCHER must be a dict, not {type_name(given)}"
        read.problems.append(Problem("dispatcher.E001", text, 'Write DISPATCHER = {"PROXIES": ["10.0.0.0/8"]}.'))
        return read
    for key, value in given.items():
        reader = _READERS.get(key)
        if reader is None:
            shown = str(key)[:80]
            read.problems.append(Problem("dispatcher.E002", f"DISPATCHER[{shown!r}] is unknown", _hint_for(shown)))
            continue
        try:
            reader(read, value)
        except (TypeError, ValueError) as error:
            text = f"DISPATCHER[{key!r}] is wrong: {error}"
            read.problems.append(Problem("dispatcher.E003", text, _HINTS[key]))
    return read


def setting_of(name: str) -> str | None:
    """The first part of the setting of dispatcher that a name stands for: ``BROKER_URL``, ``OUTBOX__DIRECTORY``."""
    # It brings all of the schema along, which only a mistake needs.
    from dispatcher.config.schema import Settings  # noqa: PLC0415

    first = name.lower().partition("__")[0]
    return first if first in Settings.model_fields else None


def _hint_for(key: str) -> str:
    if (setting := setting_of(key)) is not None:
        return f'It is a setting of dispatcher: write DISPATCHER = {{"SETTINGS": {{"{setting}": …}}}}.'
    close = get_close_matches(key.upper(), _READERS, 1)
    return f"Did you mean {close[0]}?" if close else f"The names are {', '.join(sorted(_READERS))}."


def _read_proxies(read: Configuration, value: Any) -> None:
    read.fields = RequestContext(proxies=value)


def _read_hook(read: Configuration, value: Any) -> None:
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as error:
            raise ValueError(f"it cannot be imported ({error})") from error
        except Exception as error:  # whatever its module does
            raise ValueError(f"it cannot be imported ({describe_error(error)})") from error
    read.hook = Hook(value, "DISPATCHER['CONTEXT']")


def _read_request_events(read: Configuration, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"it must be True or False, not {type_name(value)}")
    read.emits_requests = value


def _read_ignored(read: Configuration, value: Any) -> None:
    read.request_events = RequestEvents(value)


def _read_overrides(read: Configuration, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"it must be a dict, not {type_name(value)}")
    read.overrides = value


_READERS: Final[dict[str, Callable[[Configuration, Any], None]]] = {
    "PROXIES": _read_proxies,
    "CONTEXT": _read_hook,
    "REQUEST_EVENTS": _read_request_events,
    "IGNORE_PATHS": _read_ignored,
    "SETTINGS": _read_overrides,
}
_HINTS: Final = {
    "PROXIES": 'List the networks of your proxies, such as ["10.0.0.0/8", "127.0.0.1"].',
    "CONTEXT": "Name a function of a request that returns a dict, such as 'shop.tracking.context_of'.",
    "REQUEST_EVENTS": "True has every request emit an event.",
    "IGNORE_PATHS": r"List regular expressions for the start of a path, such as [r'^/static/'].",
    "SETTINGS": 'Give dispatcher\'s own settings, such as {"broker_url": "redis://localhost/0"}.',
}
