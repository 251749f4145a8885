"""event-tracking's tree as edX has it: AsyncRoutingBackend hands each event to a task, whose SegmentBackend tracks it.

Emitting processes and ``celery -A tests.benchmarks.event_tracking_celery worker`` both import this module.
"""

from __future__ import annotations

import os
import sys
from typing import Final

import django  # type: ignore[import-untyped]
import segment.analytics
from celery import Celery
from django.conf import settings  # type: ignore[import-untyped]

from tests.benchmarks.place import SEGMENT_URL

app: Final = Celery("peer", broker=os.environ["DISPATCHER_BROKER_URL"], set_as_current=True)
app.set_default()
app.conf.update(task_ignore_result=True, worker_redirect_stdouts=False, worker_hijack_root_logger=False)

settings.configure(USE_TZ=True, INSTALLED_APPS=[])
django.setup()
# The name that the package had when event-tracking's backend was written.
sys.modules["analytics"] = segment.analytics
segment.analytics.write_key = "key"
segment.analytics.host = os.environ[SEGMENT_URL]

# After the app is made, since its task joins the current app; it also needs Django's settings.
from eventtracking.backends.async_routing import AsyncRoutingBackend  # type: ignore[import-untyped]  # noqa: E402
from eventtracking.backends.segment import SegmentBackend  # type: ignore[import-untyped]  # noqa: E402
from eventtracking.tracker import Tracker, register_tracker  # type: ignore[import-untyped]  # noqa: E402

tracker: Final = Tracker({"all": AsyncRoutingBackend(backends={"segment": SegmentBackend()}, backend_name="all")})
register_tracker(tracker)
