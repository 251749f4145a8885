"""Checks: what ``manage.py check`` says of the middleware's place and of ``DISPATCHER``."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from dispatcher import config
from dispatcher.config.variables import PREFIX
from dispatcher.contrib.django.conf import read_configuration, setting_of
from dispatcher.errors import SettingsError

_MIDDLEWARE: Final = "dispatcher.contrib.django.RequestContextMiddleware"
_CLASS: Final = "dispatcher.contrib.django.middleware.RequestContextMiddleware"
_BEFORE_IT: Final = {
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
}


def check_settings(app_configs: Sequence[Any] | None = None, **_: Any) -> list[CheckMessage]:
    """All that is wrong with ``DISPATCHER`` and with the settings of dispatcher that it leads to."""
    read = read_configuration()
    found: list[CheckMessage] = [Error(one.text, hint=one.hint, id=one.id) for one in read.problems]
    try:
        config.load(overrides=dict(read.overrides))
    except SettingsError as error:
        hint = "See docs/reference/settings.md, or run `dispatcher settings check`."
        found += [Error(problem, hint=hint, id="dispatcher.E004") for problem in error.problems]
    return found


def check_names(app_configs: Sequence[Any] | None = None, **_: Any) -> list[CheckMessage]:
    """What stands in Django's settings as if it were in the environment, where nobody reads it."""
    found: list[CheckMessage] = []
    for name in dir(settings):
        setting = setting_of(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
        if setting is not None:
            hint = f'Write DISPATCHER = {{"SETTINGS": {{"{setting}": …}}}}, or set it in the environment.'
            found.append(Warning(f"dispatcher does not read {name} here", hint=hint, id="dispatcher.W003"))
        elif name != "DISPATCHER" and get_close_matches(name, ["DISPATCHER"], 1, 0.9):
            found.append(
                Warning(f"dispatcher does not read {name}", hint="Did you mean DISPATCHER?", id="dispatcher.W003")
            )
    return found


def check_middleware(app_configs: Sequence[Any] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether the middleware is there, and behind what it reads from. Classes made from these count as these."""
    found: list[CheckMessage] = []
    place = None
    for name in settings.MIDDLEWARE:
        try:
            names = _names_of(import_string(name))
        except ImportError:  # Django says of others that they are not there
            names = set()
            if name.startswith("dispatcher."):
                hint = f'Did you mean "{_MIDDLEWARE}"?'
                found.append(Error(f"MIDDLEWARE names {name}, which does not exist", hint=hint, id="dispatcher.E005"))
        except Exception:  # whatever its module does; Django shows it as it starts
            names = set()
        if _CLASS in names:
            place = name
        found += [
            Warning(
                f"RequestContextMiddleware stands before {name.rpartition('.')[2]}, so events have nothing of it",
                hint=f'Put "{place}" behind "{name}".',
                id="dispatcher.W002",
            )
            for _ in names & _BEFORE_IT
            if place is not None
        ]
    if place is None and not found:
        hint = f'Put "{_MIDDLEWARE}" into MIDDLEWARE, behind AuthenticationMiddleware.'
        return [Warning("events have no context of their request", hint=hint, id="dispatcher.W001")]
    return found


def _names_of(middleware: object) -> set[str]:
    """The names of a class and of those that it is made from; none of a function."""
    classes = middleware.__mro__ if isinstance(middleware, type) else ()
    return {f"{one.__module__}.{one.__qualname__}" for one in classes}
