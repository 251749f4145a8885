"""A Celery app like those that sites write themselves: a task for each event, which appends a line or posts to Segment.

Default options.
"""

from __future__ import annotations

import json
import logging
import os
from functools import cache
from typing import Any
from uuid import uuid4

from celery import Celery
from segment.analytics.request import post

from tests.benchmarks.place import SEGMENT_URL

app = Celery("plain", broker=os.environ["DISPATCHER_BROKER_URL"])
app.conf.update(task_ignore_result=True, worker_redirect_stdouts=False, worker_hijack_root_logger=False)


@app.task  # type: ignore[untyped-decorator]
def append(event: dict[str, Any]) -> None:
    """Append the event to the log, which stays open."""
    _log().info(json.dumps(event))


@app.task  # type: ignore[untyped-decorator]
def post_event(event: dict[str, Any]) -> None:
    """Post the event to Segment, with the function that segment-analytics-python's client calls."""
    message = {
        "type": "track",
        "event": event["name"],
        "properties": event["event"],
        "context": event["context"],
        "timestamp": event["timestamp"],
        "userId": str(event["context"]["user_id"]),
        "messageId": str(uuid4()),
    }
    post("key", os.environ[SEGMENT_URL], batch=[message])


@cache
def _log() -> logging.Logger:
    logger = logging.getLogger("plain.tracking")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.FileHandler(os.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH"]))
    return logger
