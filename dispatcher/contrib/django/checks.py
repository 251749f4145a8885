"""Checks: what ``manage.py check`` says of the middleware's place and of ``DISPATCHER``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from dispatcher import config
from dispatcher.contrib.django.conf import read_configuration
from dispatcher.errors import SettingsError

_MIDDLEWARE: Final = "dispatcher.contrib.django.RequestContextMiddleware"
_BEFORE_IT: Final = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
)


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


def check_middleware(app_configs: Sequence[Any] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether the middleware is there, and behind what it reads from."""
    listed = list(settings.MIDDLEWARE)
    if _MIDDLEWARE not in listed:
        hint = f'Put "{_MIDDLEWARE}" into MIDDLEWARE, behind AuthenticationMiddleware.'
        return [Warning("events have no context of their request", hint=hint, id="dispatcher.W001")]
    place = listed.index(_MIDDLEWARE)
    return [
        Warning(
            f"RequestContextMiddleware stands before {name.rpartition('.')[2]}, so events have nothing of it",
            hint=f'Put "{_MIDDLEWARE}" behind "{name}".',
            id="dispatcher.W002",
        )
        for name in _BEFORE_IT
        if name in listed[place:]
    ]
