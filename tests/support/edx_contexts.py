"""Contexts as edX binds them: for a request, for an event of the browser, and for an app."""

from __future__ import annotations

from typing import Any

# As edX binds it for a request.
REQUEST: dict[str, Any] = {
    "username": "staff",
    "session": "993110e9c27848a545da74a74114158d",
    "user_id": 3,
    "ip": "172.18.0.1",
    "host": "courses.example.org",
    "agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
    "path": "/courses/course-v1:edX+DemoX+Demo_Course/progress",
    "referer": "https://courses.example.org/dashboard?é=1",
    "accept_language": "en-GB,en;q=0.9",
    "course_id": "course-v1:edX+DemoX+Demo_Course",
    "org_id": "edX",
    "enterprise_uuid": "",
}
BROWSER = {**REQUEST, "event_source": "browser", "page": "https://courses.example.org/courses/x/"}
MOBILE = {
    **REQUEST,
    "event_source": "mobile",
    "path": "/segmentio/event",
    "timestamp": "2026-03-04T05:06:07.890123+00:00",
    "received_at": "2026-03-04T05:06:08.250000+00:00",
    "component": "videoplayer",
    "application": {"name": "edx.mobileapp.android", "version": "9.0"},
    "client": {"locale": "en-US", "ip": "172.18.0.1"},
}
