"""Inspection: what a worker answers to `dispatcher doctor`, beside what Celery itself tells of it."""

from __future__ import annotations

import time
from typing import Any, Final

from celery.worker.control import inspect_command

import dispatcher

#: What `dispatcher doctor` asks by.
QUESTION: Final = "dispatcher_worker"


def describe(state: Any) -> dict[str, Any]:
    """This worker's version, its clock in seconds since 1970, and its visibility timeout where one is set."""
    options = state.app.conf.broker_transport_options or {}
    return {
        "version": dispatcher.__version__,
        "time": time.time(),
        "visibility_timeout": options.get("visibility_timeout"),
    }


inspect_command(name=QUESTION)(describe)
