"""OpenTelemetry in a worker: when tracing starts, and that what is left is sent at the end."""

from __future__ import annotations

import logging
import os
from typing import Final

from celery import signals

from dispatcher.monitoring.otel.tracing import active_tracing, start_tracing
from dispatcher.monitoring.otel.variables import read_otel

logger = logging.getLogger(__name__)

# Seconds that a worker, or a child of the prefork pool, takes at its end to send what is left.
_STOP_SECONDS: Final = 2.0


def connect() -> None:
    """Have Celery call what is below. Does nothing else, so it may be called anywhere."""
    signals.celeryd_init.connect(_start, weak=False)
    signals.worker_process_shutdown.connect(_stop, weak=False)
    signals.worker_shutdown.connect(_stop, weak=False)


def _start(**_: object) -> None:
    # Before the pool forks, so that its children trace too.
    variables = read_otel(os.environ)
    for problem in variables.problems:
        logger.warning("%s", problem)
    start_tracing(variables, role="worker")


def _stop(**_: object) -> None:
    tracing = active_tracing()
    if tracing is not None:
        tracing.spans.stop(_STOP_SECONDS)
