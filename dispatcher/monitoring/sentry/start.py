"""Start: Sentry in a process of dispatcher's own, if the settings have a DSN; never in a web process."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dispatcher.errors import SettingsError
from dispatcher.monitoring.sentry.errors import LOGGERS, CrashHandler, limiter
from dispatcher.monitoring.sentry.report import active_client

if TYPE_CHECKING:
    from dispatcher.config import Settings


def start_sentry(settings: Settings, *, role: str) -> bool:
    """Start Sentry in this process, and report what is logged as a crash. For the main thread; does not block.

    Children that are forked afterwards report too. A second call does nothing.

    Args:
        settings: Those of the process.
        role: The part that the process plays: worker, worker_supervisor, relay, up.

    Returns:
        False without ``sentry.dsn``: nothing is imported then, and nothing is ever reported.

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
