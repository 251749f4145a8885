"""Remote control: the question that workers answer for `dispatcher doctor`, beside those of Celery's own."""

from __future__ import annotations

import time
from typing import Any, Final

from celery.worker.control import inspect_command

from dispatcher.tasks.transport import REFUSALS
from dispatcher.version import __version__

#: The name of the question.
QUESTION: Final = "dispatcher_worker"


def describe(state: Any) -> dict[str, Any]:
    """This worker's version, its time in seconds since 1970, its visibility timeout if any, and what it refused."""
    options = state.app.conf.broker_transport_options or {}
    return {
        "version": __version__,
        "time": time.time(),
        "visibility_timeout": options.get("visibility_timeout"),
        # How many messages it has dropped since its start because they were not doorbells, by queue.
        "refused": REFUSALS.counts(),
    }


inspect_command(name=QUESTION)(describe)
