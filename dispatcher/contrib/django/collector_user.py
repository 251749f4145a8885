"""Collector user: who sent a request to the collector, by the session of a Django site next door.

    collector.user = "dispatcher.contrib.django.collector_user:user_of"

``DJANGO_SETTINGS_MODULE`` names the site's settings, and its packages are there.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import django
from django.apps import apps
from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import close_old_connections

from dispatcher.contrib.request_context import hash_session

# Open edX's cookie: version, session's key, a salt and a signature.
_SAFE_PARTS: Final = 4
_lock = threading.Lock()


def user_of(headers: Mapping[str, str], cookies: Mapping[str, str]) -> dict[str, Any] | None:
    """``user_id``, ``username`` and ``session`` as the site's own middleware binds them. None for a visitor.

    Asks the store of sessions, and the database for the user, so it blocks; the collector calls it in a thread. Reads
    the safe sessions of Open edX too.

    Args:
        headers: Of the request; not read.
        cookies: Of the request.

    Raises:
        Exception: What Django raises, such as for a database that is away.
    """
    _set_up()
    from django.contrib.auth import get_user  # noqa: PLC0415 - only once the apps are there

    key = _read_key(cookies.get(settings.SESSION_COOKIE_NAME, ""))
    if not key:
        return None
    close_old_connections()
    try:
        session = import_module(settings.SESSION_ENGINE).SessionStore(key)
        user = get_user(_Request(session))
        found: dict[str, Any] = {"session": hash_session(key, settings.SECRET_KEY)}
        return found | ({"user_id": user.pk, "username": user.get_username()} if user.is_authenticated else {})
    finally:
        close_old_connections()


class _Request:
    """As much of a request as finding its user takes."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.META: dict[str, str] = {}


def _read_key(cookie: str) -> str:
    parts = cookie.split("|")
    return parts[1] if len(parts) == _SAFE_PARTS else cookie


def _set_up() -> None:
    if apps.ready:
        return
    with _lock:
        if not apps.ready:
            django.setup()


# The collector imports this before it listens. To load a platform takes longer than a request waits for its user, and
# what is wrong with its settings ends the collector here.
if settings.configured or os.environ.get(ENVIRONMENT_VARIABLE):
    _set_up()
