"""Start: reports from a process of dispatcher's own, where the settings name a Sentry; never from a web process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dispatcher.errors import SettingsError
from dispatcher.monitoring.sentry.errors import LOGGERS, CrashHandler, limiter
from dispatcher.monitoring.sentry.report import active_client

if TYPE_CHECKING:
    from dispatcher.config import Settings


def start(settings: Settings, *, role: str) -> bool:
    """Start Sentry in this process, and report what is logged as a crash. Before a fork, the children report too.

    Called again, it does nothing.

    Args:
        role: The part that the process plays: worker, keeper, relay, up.

    Returns:
        False where ``sentry.dsn`` is not set: then nothing is imported, and nothing is ever reported.

    Raises:
        SettingsError: sentry-sdk is not installed.
    """
    if settings.sentry.dsn is None:
        return False
    if active_client() is not None:
        return True
    try:
        from dispatcher.monitoring.sentry import client  # noqa: PLC0415 - not loaded where nothing is reported
    except ImportError as error:
        raise SettingsError(
            [f"sentry.dsn is set and sentry-sdk cannot be imported ({error}): pip install 'sentry-sdk>=2.40,<3'"]
        ) from error
    client.init(settings.sentry, environment=settings.environment, role=role)
    limiter.seconds = settings.sentry.interval_seconds
    handler = CrashHandler()
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    return True
