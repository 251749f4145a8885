"""Mistakes in the code of a destination: they are reported, and cost only the events that they happen to."""

from __future__ import annotations

import logging
from typing import Protocol

from dispatcher.monitoring.sentry.errors import report_failed_delivery
from dispatcher.secrecy.foreign_error import describe_error, describe_traceback

logger = logging.getLogger(__name__)


class Named(Protocol):
    """Whose code it is: a destination."""

    @property
    def name(self) -> str: ...


def report_mistake(destination: Named, error: Exception) -> str:
    """Report an error that a destination's own code has raised, to the log and to Sentry.

    Returns:
        What happened, for a person. Without the error's text, which may hold some of the event.
    """
    report_failed_delivery(destination.name, error)
    mistake = f"{type(error).__name__} in {type(destination).__name__}, a mistake of the destination's"
    logger.warning("delivery to %s failed: %s: %s", destination.name, mistake, describe_error(error))
    logger.debug("delivery to %s failed: %s", destination.name, describe_traceback(error))
    return mistake
