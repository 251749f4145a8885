"""Emits 200 events as the platform does, with whichever settings the site has."""

from __future__ import annotations

import sys

import django
import segment.analytics

# The package that event-tracking looks for has had another name since its version 2.
sys.modules["analytics"] = segment.analytics
django.setup()

from eventtracking import tracker  # type: ignore[import-untyped]  # noqa: E402

from tests.support.edx_contexts import BROWSER, MOBILE, REQUEST  # noqa: E402

NAMES = ("edx.course.enrollment.activated", "edx.bi.clicked", "edx.problem.check", "/courses/x/progress")


def emit_all(count: int) -> None:
    bind = tracker.get_tracker().context
    for n in range(count):
        known = (REQUEST, BROWSER, MOBILE, {**REQUEST, "client_id": "1033501218.1368477899"})[n // 4 % 4]
        data = {"n": n, "text": "é ☃ \U0001f600 </script>", "grade": 0.1 + n, "parts": [1, None, {"a": True}]}
        course = {"course_id": f"course-v1:Org+C{n % 3}+R", "org_id": "Org"}
        with bind("edx.request", known), bind("edx.course", course):
            tracker.emit(NAMES[n % 4], data)
    tracker.emit("edx.without.context")


if __name__ == "__main__":
    segment.analytics.write_key, segment.analytics.host = "a-key", sys.argv[2]
    emit_all(int(sys.argv[1]))
    segment.analytics.flush()
