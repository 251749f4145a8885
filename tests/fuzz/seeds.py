"""Seeds: what the collector takes, a good request for each of its routes."""

from __future__ import annotations

import time
from typing import Any, Final

from dispatcher.secrecy.visitor import make_reference
from tests.fuzz.attack import Seed
from tests.fuzz.good_client import good_event

#: The write keys of a source of pages and of one of servers, and the secret of the mobile webhook.
WEB_KEY, SERVER_KEY, SECRET = "k-web", "k-server", "s-mobile"
#: What references of visitors are signed with, and the destination whose events pages take.
VISITOR_SECRET: Final = "0123456789abcdef" * 4
TAGS: Final = "tags"
#: The name of each good call of Segment's API, and of nothing else.
CALL: Final = "fuzz.good.call"
_TIME: Final = "2026-01-02T03:04:05.678Z"
_CONTEXT: Final = {
    "page": {"url": "https://shop.example/a", "title": "A"},
    "library": {"name": "x", "version": "1"},
    "ip": "192.0.2.1",
}
_CALL: Final[dict[str, Any]] = {
    "type": "track",
    "event": "fuzz.call",
    "name": "Home",
    "category": "Shop",
    "userId": "7",
    "anonymousId": "a-1",
    "groupId": "g",
    "previousId": "6",
    "properties": {"k": "call", "price": 1.5, "items": [{"id": 1}, {"id": 2}]},
    "traits": {"email": "a@example.org"},
    "context": _CONTEXT,
    "integrations": {"All": True, "Amplitude": {"session_id": 1}},
    "timestamp": _TIME,
    "sentAt": _TIME,
}
_MOBILE: Final[dict[str, Any]] = {
    "type": "track",
    "messageId": "m-1",
    "userId": 7,
    "timestamp": _TIME,
    "receivedAt": _TIME,
    "context": {"library": {"name": "analytics-ios", "version": "1"}, "userAgent": "app", "app": {"version": "2"}},
    "properties": {
        "name": "edx.video.played",
        "data": {"k": "mobile"},
        "context": {"course_id": "course-v1:a+b+c"},
        "label": "x",
    },
}


def good_call(key: str) -> dict[str, Any]:
    """A call of Segment's API, which arrives there."""
    properties = {"k": key, "price": 1.5}
    return {"type": "track", "event": CALL, "messageId": f"good-{key}", "userId": "7", "properties": properties}


def page_event(key: str) -> dict[str, Any]:
    """An event as tracker.js sends it, which arrives in the log."""
    page = "https://shop.example/courses/course-v1:a+b+c/x"
    more = {
        "timestamp": _TIME,
        "page": page,
        "context": {"course_id": "course-v1:a+b+c", "a": [1]},
        "via": "Logger.log",
    }
    return {**good_event(key), "anonymousId": "a-1", "script": "https://shop.example/a.js", **more}


# A page's own reference, and that of a user, which ends in a hundred years and is the same in each run.
_OWN: Final = f"p_{'0123456789abcdef' * 2}"
_END: Final = 4_945_000_000


def _user_reference() -> str:
    return make_reference(VISITOR_SECRET.encode(), user_id="7", hours=(_END + 0.5 - time.time()) / 3600)


def collector_seeds() -> tuple[Seed, ...]:
    """All of them."""
    visitor = [_OWN, _user_reference()]
    acks = [
        {"id": f"good-{status}", "destination": TAGS, "status": status}
        for status in ("handed", "no_consent", "not_present", "error")
    ]
    handover = {"key": WEB_KEY, "visitor": visitor, "acks": acks, "wait": 0.01}
    basic = (("Authorization", "Basic ay1zZXJ2ZXI6"),)  # k-server:
    page = (("Origin", "https://shop.example"), ("Content-Type", "text/plain"))
    batch = {"writeKey": SERVER_KEY, "sentAt": _TIME, "context": _CONTEXT, "integrations": {"All": True}}
    events = {
        "key": WEB_KEY,
        "visitor": visitor,
        "sentAt": _TIME,
        "dropped": {"full": 2},
        "events": [page_event("seed") | {"name": "fuzz.seed"}],
    }
    form = {
        "event_type": "fuzz.form",
        "event": '{"a": [1, "é"]}',
        "page": "https://shop.example/courses/course-v1:a+b+c/",
    }
    calls = [_CALL | {"type": kind} for kind in ("identify", "track", "page", "screen", "group", "alias")]
    return (
        Seed(method="POST", path="/v1/events", headers=page, body=events, items=("events", page_event)),
        Seed(method="POST", path="/v1/handover", headers=page, body=handover),
        Seed(method="POST", path="/v1/batch", body=batch | {"batch": calls}, items=("batch", good_call)),
        Seed(method="POST", path="/v1/import", headers=basic, body={"batch": calls}, items=("batch", good_call)),
        *(Seed(method="POST", path=f"/v1/{call['type']}", headers=basic, body=call) for call in calls),
        Seed(method="POST", path="/v1/t", target=f"/v1/t?writeKey={SERVER_KEY}", body=_CALL),
        Seed(method="POST", path="/event", headers=page[:1], body=form, form="form"),
        Seed(method="POST", path="/event", headers=page[:1], body=form),
        Seed(method="GET", path="/event", target="/event?", body=form, form="query"),
        Seed(method="POST", path="/segmentio/event", target=f"/segmentio/event?key={SECRET}", body=_MOBILE),
        Seed(
            method="GET",
            path="/v1/pixel/{type}",
            target=f"/v1/pixel/track?writeKey={SERVER_KEY}&",
            body=_CALL,
            form="pixel",
        ),
        Seed(method="GET", path="/v1/projects/{key}/settings", target=f"/v1/projects/{WEB_KEY}/settings", form="none"),
        Seed(method="HEAD", path="/v1/projects/{key}/settings", target=f"/v1/projects/{WEB_KEY}/settings", form="none"),
        Seed(method="POST", path="/v1/m", body={"series": [{"type": "Counter", "metric": "a", "value": 1}]}),
        *(
            Seed(method="GET", path=path, form="none")
            for path in ("/healthz", "/readyz", "/openapi.json", "/tracker.js")
        ),
    )
