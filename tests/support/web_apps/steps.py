"""Steps: what every app does for a request. ``n`` is the number of the request, and ``step`` where it emits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dispatcher import tracker
from dispatcher.request.course import course_fields

EVENT = "shop.basket.seen"
PATH = re.compile(r"/courses/course-v1:Org\+C(?P<n>\d+)\+R/(?P<kind>\w+)")


def number(path: str) -> int:
    found = PATH.fullmatch(path)
    assert found is not None, path
    return int(found["n"])


def emit(step: str, n: int) -> None:
    tracker.emit(EVENT, {"n": n, "step": step})


def pause(n: int) -> float:
    """Seconds, different for each, so that requests overtake each other."""
    return n % 7 / 1000


def more(path: str, headers: Mapping[str, str]) -> dict[str, object]:
    """What the app's hook says of a request."""
    ids = {"user_id": int(headers.get("x-user", "0")), "request_id": headers.get("x-request-id")}
    return {**ids, **course_fields(path)}
