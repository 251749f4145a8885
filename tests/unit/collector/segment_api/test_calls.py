"""Segment's HTTP Tracking API: bytes in, events out, and the same fields at Segment."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatcher.collector.route import Accepted, Request
from dispatcher.collector.routes import Routes
from dispatcher.collector.sources import Sources
from dispatcher.config.collector import CollectorSettings, SourceSettings
from dispatcher.event import Event
from dispatcher.intake.refused import Refused
from dispatcher.tasks.destinations.segment.message import to_message

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ROUTES = Routes(CollectorSettings())
#: As @segment/analytics-next 1.84.3 sends it.
AJS = {
    "timestamp": "2026-01-02T03:04:00.000Z",
    "integrations": {"Segment.io": True, "Mixpanel": False},
    "type": "track",
    "event": "Order Paid",
    "userId": None,
    "anonymousId": "a-1",
    "properties": {"order": "7", "total": 9.5, "nested": {"a": [1, None]}},
    "context": {
        "page": {"path": "/p", "referrer": "", "search": "?q", "title": "T", "url": "https://shop.example.org/p?q"},
        "userAgent": "Browser/1",
        "userAgentData": {"mobile": False},
        "locale": "de",
        "library": {"name": "analytics.js", "version": "npm:next-1.84.3"},
        "timezone": "Europe/Berlin",
        "campaign": {"source": "mail"},
        "consent": {"categoryPreferences": {"Advertising": True}},
    },
    "messageId": "ajs-next-1767323040000-3f0c9a52-6d0e-4d5c-9a51-0d2f4c1b7a10",
    "writeKey": "k",
    "sentAt": "2026-01-02T03:04:01.000Z",
    "_metadata": {"bundled": ["Segment.io"], "unbundled": [], "bundledIds": []},
}


def answered(path: str, body: Any, *, query: bytes = b"", headers: Any = None, **options: Any) -> Accepted | Refused:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    route = ROUTES.find(path)
    assert route is not None
    method = "GET" if "pixel" in path or "settings" in path else "POST"
    request = Request(method, path, {"user-agent": "Agent/1", **(headers or {})}, query, text, "192.0.2.7", NOW)
    return route(request, Sources({"site": SourceSettings(**{"write_key": "k"} | options)}))


def taken(path: str, body: Any, **options: Any) -> Accepted:
    accepted = answered(path, body, **options)
    assert isinstance(accepted, Accepted)
    return accepted


def sent(path: str, body: Any, **options: Any) -> dict[str, Any]:
    [event] = taken(path, body, **options).events
    return to_message(event)


@pytest.mark.parametrize("path", ["/v1/t", "/v1/track"])
def test_what_analytics_js_sends_reaches_segment_unchanged(path: str) -> None:
    message = sent(path, AJS)
    expected: dict[str, Any] = {k: v for k, v in AJS.items() if k not in ("userId", "writeKey", "sentAt")}
    expected["context"] = {**AJS["context"], "ip": "192.0.2.7"}  # type: ignore[dict-item]
    expected["timestamp"] = "2026-01-02T03:04:04Z"
    assert message == expected


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/identify", {"traits": {"email": "a@example.org"}}),
        ("/v1/i", {"traits": {"email": "a@example.org"}}),
        ("/v1/page", {"name": "Home", "category": "Shop", "properties": {"title": "T"}}),
        ("/v1/p", {"name": "Home", "properties": {}}),
        ("/v1/screen", {"name": "Home", "properties": {"a": 1}}),
        ("/v1/s", {"properties": {"a": 1}}),
        ("/v1/group", {"groupId": "g-1", "traits": {"plan": "x"}}),
        ("/v1/g", {"groupId": "g-1", "traits": {}}),
        ("/v1/alias", {"previousId": "old"}),
        ("/v1/a", {"previousId": "old"}),
    ],
)
def test_every_call_keeps_its_fields(path: str, fields: dict[str, Any]) -> None:
    message = sent(path, {"writeKey": "k", "userId": "7", "messageId": "m", "context": {"ip": "1.2.3.4"}, **fields})
    assert message["type"].startswith(path.rpartition("/")[2])
    assert {key: message.get(key) for key in fields} == fields
    assert (message["messageId"], message["userId"], message["context"]["ip"]) == ("m", "7", "1.2.3.4")


@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/import"])
def test_a_batch_gives_its_calls_context_and_integrations(path: str) -> None:
    items = [
        {
            "type": "track",
            "event": "A",
            "userId": "7",
            "context": {"a": 1, "both": "item"},
            "integrations": {"X": True},
        },
        {"type": "identify", "userId": "7"},
    ]
    shared = {"context": {"both": "batch", "b": 2}, "integrations": {"All": False, "X": False}}
    first, second = (to_message(event) for event in taken(path, {"writeKey": "k", "batch": items, **shared}).events)
    assert {key: first["context"].get(key) for key in ("a", "b", "both")} == {"a": 1, "b": 2, "both": "item"}
    assert first["integrations"] == {"All": False, "X": True}
    assert second["context"]["both"] == "batch"
    assert second["integrations"] == {"All": False, "X": False}


def test_the_clients_clock_is_corrected() -> None:
    late = {"type": "track", "event": "A", "timestamp": "1970-01-01T00:00:10Z", "userId": "7"}
    early = {
        "type": "track",
        "event": "A",
        "originalTimestamp": "2099-01-01T00:00:00Z",
        "timestamp": "1970-01-01T00:00:00Z",
    }
    events = taken("/v1/batch", {"writeKey": "k", "sentAt": "1970-01-01T00:00:15Z", "batch": [late]}).events
    assert events[0].timestamp == NOW - timedelta(seconds=5)
    events = taken("/v1/batch", {"writeKey": "k", "sentAt": "2099-01-01T00:00:07Z", "batch": [early]}).events
    assert events[0].timestamp == NOW - timedelta(seconds=7)
    # Each call of an older client has its own.
    assert taken("/v1/batch", {"writeKey": "k", "batch": [late | {"sentAt": "1970-01-01T00:00:12Z"}]}).events[
        0
    ].timestamp == NOW - timedelta(seconds=2)
    assert (
        sent("/v1/track", {"writeKey": "k", "event": "A", "timestamp": "no time"})["timestamp"]
        == "2026-01-02T03:04:05Z"
    )


@pytest.mark.parametrize(
    ("headers", "query", "field"),
    [
        ({"authorization": "Basic " + base64.b64encode(b"k:").decode()}, b"", {}),
        ({"authorization": "Basic " + base64.b64encode(b"k").decode()}, b"", {}),
        ({"authorization": "basic " + base64.b64encode(b"k:password").decode()}, b"", {}),
        ({"authorization": "Basic " + base64.b64encode(b"k:").decode()}, b"", {"writeKey": "other"}),
        ({"authorization": "Basic ?"}, b"", {"writeKey": "k"}),
        ({"authorization": "Bearer token"}, b"", {"writeKey": "k"}),
        ({}, b"", {"writeKey": "k"}),
        ({}, b"writeKey=k", {}),
    ],
)
def test_the_key_is_found_wherever_clients_have_it(
    headers: dict[str, str], query: bytes, field: dict[str, str]
) -> None:
    body = {"event": "A", "userId": "7", **field}
    assert len(taken("/v1/track", body, headers=headers, query=query).events) == 1


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic " + base64.b64encode(b"x:").decode()}])
def test_without_a_known_key_nothing_is_taken(headers: dict[str, str]) -> None:
    refused = answered("/v1/track", {"event": "A"}, headers=headers)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (401, "unknown_key")


def test_bad_items_are_told_and_take_nothing_along() -> None:
    good = {"type": "track", "event": "A", "userId": "7", "messageId": "good"}
    items = [5, {"type": "nonsense"}, {"type": "track"}, good | {"messageId": "x" * 101}, good | {"messageId": 5}, good]
    accepted = taken("/v1/batch", {"writeKey": "k", "batch": items})
    assert [event.id for event in accepted.events] == ["good"]
    assert accepted.indexes == [5]
    assert [(item.index, item.code) for item in accepted.rejected] == [
        (0, "not_an_object"),
        (1, "bad_type"),
        (2, "no_event"),
        (3, "bad_id"),
        (4, "bad_id"),
    ]


def test_a_call_without_an_id_or_a_user_is_taken() -> None:
    [event] = taken("/v1/track", {"writeKey": "k", "event": "A"}).events
    assert event.id == ""
    assert taken("/v1/identify", {"writeKey": "k"}).events[0].type == "identify"


def ip_of(event: Event) -> Any:
    return to_message(event)["context"].get("ip")


@pytest.mark.parametrize(
    ("options", "context", "ip"),
    [
        ({}, {}, "192.0.2.7"),
        ({"ip": "truncate"}, {}, "192.0.2.0"),
        ({"ip": "drop"}, {}, None),
        ({"ip": "truncate"}, {"ip": "198.51.100.9"}, "198.51.100.0"),
        ({"ip": "drop"}, {"ip": "198.51.100.9"}, None),
        ({"kind": "server"}, {}, None),
        ({"kind": "server"}, {"direct": True}, "192.0.2.7"),
        ({"kind": "server"}, {"ip": "198.51.100.9"}, "198.51.100.9"),
    ],
)
def test_addresses_obey_the_policy_of_the_source(
    options: dict[str, Any], context: dict[str, Any], ip: str | None
) -> None:
    [event] = taken("/v1/track", {"writeKey": "k", "event": "A", "context": context}, **options).events
    assert ip_of(event) == ip


@pytest.mark.parametrize(
    ("headers", "protocol"),
    [
        ({"origin": "https://shop.example.org"}, "https"),
        ({"referer": "http://localhost:8000/p"}, "http"),
        ({"x-forwarded-proto": "https"}, "https"),
        ({"x-forwarded-proto": "javascript"}, "http"),
        ({}, "http"),
    ],
)
def test_analytics_js_gets_the_settings_of_its_source(headers: dict[str, str], protocol: str) -> None:
    accepted = taken("/v1/projects/k/settings", b"", headers={"host": "c.example.org", **headers})
    assert accepted.body is not None
    assert json.loads(accepted.body)["integrations"] == {
        "Segment.io": {"apiKey": "k", "apiHost": "c.example.org/v1", "protocol": protocol}
    }
    assert json.loads(accepted.body)["metrics"] == {"sampleRate": 0}
    assert isinstance(answered("/v1/projects/other/settings", b""), Refused)
    assert isinstance(answered("/v1/projects/k/other/settings", b""), Refused)


def test_a_pixel_is_a_call() -> None:
    call = {"writeKey": "k", "event": "Mail opened~?", "userId": "7"}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        data = encode(json.dumps(call).encode())
        for query in (b"data=" + data, b"data=" + data.rstrip(b"=")):
            accepted = taken("/v1/pixel/track", b"", query=query)
            assert [event.name for event in accepted.events] == ["Mail opened~?"]
            assert accepted.body is not None
            assert accepted.body.startswith(b"GIF89a")
    assert isinstance(answered("/v1/pixel/track", b"", query=b"data=%%%"), Refused)
    assert isinstance(answered("/v1/pixel/nothing", b""), Refused)


def test_metrics_of_analytics_js_are_taken_and_not_kept() -> None:
    accepted = taken("/v1/m", {"series": [{"type": "Counter", "metric": "analytics_js.invoke", "value": 1}]})
    assert (accepted.status, list(accepted.events)) == (200, [])
