"""A Celery app like those that sites write themselves: a task for each event, which appends a line. Default options."""

from __future__ import annotations

import json
import logging
import os
from functools import cache
from typing import Any

from celery import Celery

app = Celery("plain", broker=os.environ["DISPATCHER_BROKER_URL"])
app.conf.update(task_ignore_result=True, worker_redirect_stdouts=False, worker_hijack_root_logger=False)


@app.task  # type: ignore[untyped-decorator]
def append(event: dict[str, Any]) -> None:
    """Append the event to the log, which stays open."""
    _log().info(json.dumps(event))


@cache
def _log() -> logging.Logger:
    logger = logging.getLogger("plain.tracking")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.FileHandler(os.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH"]))
    return logger
