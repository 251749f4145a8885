"""Inspection: what a worker answers to `dispatcher doctor`, beside what Celery itself tells of it."""

from __future__ import annotations

import time
from typing import Any, Final

from celery.worker.control import inspect_command

from dispatcher.tasks.transport import REFUSALS
from dispatcher.version import __version__

#: What `dispatcher doctor` asks by.
QUESTION: Final = "dispatcher_worker"


def describe(state: Any) -> dict[str, Any]:
    """This worker's version, its clock in seconds since 1970, its visibility timeout if any, and what it refused."""
    options = state.app.conf.broker_transport_options or {}
    return {
        "version": __version__,
        "time": time.time(),
        "visibility_timeout": options.get("visibility_timeout"),
        # How many messages were no doorbells, by queue, since it was started.
        "refused": REFUSALS.counts(),
    }


inspect_command(name=QUESTION)(describe)
