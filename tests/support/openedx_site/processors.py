"""What the platform's own processors do to an event, for the tree of backends as it was before.

Written from what the platform's tracking log shows (docs.openedx.org, Events in the Tracking Logs). The old names of
sequence and video events are held elsewhere (tests/unit/edx_log).
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from opaque_keys import InvalidKeyError  # type: ignore[import-untyped]
from opaque_keys.edx.keys import CourseKey  # type: ignore[import-untyped]


class ToLogLine:
    """The fields of the log's lines, in their order."""

    def __call__(self, event: dict[str, Any]) -> None:
        context = event["context"]
        raised = ("username", "session", "ip", "agent", "host", "referer", "accept_language")
        event.update({field: context.pop(field, "") for field in raised})
        context.pop("client_id", None)
        source = context.pop("event_source", "server")
        data, time = event.pop("data"), event.pop("timestamp")
        event["event"] = json.dumps(data) if source == "browser" and isinstance(data, dict) else data
        event["time"] = context.pop("timestamp", time)
        event["event_type"] = context.pop("event_type", None) or event["name"]
        event["event_source"] = source
        event["page"] = context.pop("page", None)


class ForSegment:
    """What the platform adds for Google Analytics behind Segment."""

    def __call__(self, event: dict[str, Any]) -> dict[str, Any]:
        changed = dict(event)
        course_id = event["context"].get("course_id")
        if course_id is not None:
            changed["label"] = course_id
        with suppress(InvalidKeyError):
            changed["courserun_key"] = str(CourseKey.from_string(course_id))
        changed["nonInteraction"] = 1
        return changed
