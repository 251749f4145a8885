"""Bad input: at every route it has a defined answer and a counter, and takes no good event along."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import dispatcher.collector
import dispatcher.intake
from dispatcher.collector import openapi, reasons
from tests.support.collector_app import Answer, CollectorApp

SOURCES: dict[str, Any] = {
    "web": {"write_key": ["new", "old"], "origins": ["https://www.example.org"]},
    "server": {"write_key": "k2", "kind": "server"},
    "slow": {"write_key": "k3", "kind": "server", "per_second": 0.001, "burst": 1},
}
PAGE = {"origin": "https://www.example.org"}
#: Values of JSON that stand somewhere in an event, with the code of the item that has them; None: it is taken.
VALUES: dict[str, tuple[bytes, str | None]] = {
    "NaN": (b"NaN", "not_encodable"),
    "infinite": (b"[-Infinity]", "not_encodable"),
    "beyond a double": (b"1e400", "not_encodable"),
    "a number of many digits": (b"9" * 5_000, "not_encodable"),
    "a number of 100 digits": (b"9" * 100, None),
    "half a surrogate pair": (b'"\\ud83d"', None),
    "a key that is half a pair": (b'{"\\udc00": 1}', None),
    "bytes that are not UTF-8": (b'"\xff\xfe"', None),
    "an escaped null character": (b'"\\u0000"', None),
    "a null character": (b'"\x00"', None),
    "a key that comes twice": (b'{"a": 1, "a": 2}', None),
    "100 levels": (b"[" * 100 + b"]" * 100, "too_deep"),
    "40 KB": (b'"%b"' % (b"x" * 40_000), "too_large"),
}
#: Whole bodies, with the status and code of a route that takes JSON.
BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "not_json"),
    "not JSON": (b"{", 400, "not_json"),
    "10,000 levels": (b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400, "too_deep"),
    "10 MB": (b"1" * 10_000_000, 413, "too_large"),
    "a zip bomb": (gzip.compress(bytes(10_000_000)), 413, "bomb"),
    "3 MB after gzip": (gzip.compress(b"".join(b"%07d" % n for n in range(430_000)), 1), 413, "too_large"),
    "gzip without its end": (gzip.compress(b"{}")[:-4], 400, "damaged_body"),
}
GOOD = b'{"type":"track","event":"Good","userId":"7"}'


def track(value: bytes) -> bytes:
    return b'{"writeKey":"k2","userId":"7","event":"Odd","properties":{"a":%b}}' % value


def batch(value: bytes) -> bytes:
    return b'{"writeKey":"k2","batch":[{"type":"track","userId":"7","event":"Odd","properties":{"a":%b}},%b]}' % (
        value,
        GOOD,
    )


def page_events(value: bytes) -> bytes:
    return b'{"key":"k2","events":[{"id":"odd","name":"odd","data":{"a":%b}},{"id":"g","name":"Good"}]}' % value


def mobile(value: bytes) -> bytes:
    return (
        b'{"type":"track","userId":7,"timestamp":"2026-01-01T00:00:00Z","receivedAt":"2026-01-01T00:00:00Z",'
        b'"context":{"library":{"name":"analytics-ios"}},"properties":{"name":"odd","data":{"a":%b}}}' % value
    )


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorApp]:
    settings = {"mobile_secret": "s", "proxies": ["10.0.0.0/8"]}
    running = CollectorApp(tmp_path_factory.mktemp("bad_input"), SOURCES, settings)
    yield running
    running.close()


def ask(app: CollectorApp, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[Answer, list[Any]]:
    """An answer, which must be one that the description has, and the events that came of the request."""
    before = len(app.events())
    answer = app.ask(method, target, body, {**PAGE, **headers})
    described = openapi.describe(app.app._settings, app.app._routes)["paths"]
    path = re.sub(r"(/v1/pixel/|/v1/projects/)[^/?]+", r"\1{}", target.partition("?")[0])
    found = next(found for known, found in described.items() if re.sub(r"\{\w+\}", "{}", known) == path)
    responses = found[method.lower()]["responses"]
    assert str(answer.status) in responses
    if answer.status >= 400:
        [content] = responses[str(answer.status)]["content"].values()
        assert answer.json["code"] in content["schema"]["properties"]["code"]["enum"]
    return answer, app.events()[before:]


@pytest.mark.parametrize("name", VALUES)
def test_an_odd_value_is_its_own_events_affair(app: CollectorApp, name: str) -> None:
    value, code = VALUES[name]
    rejected = {"server": 0, "web": 0, "segmentio": 0}
    targets = [
        ("POST", "/v1/track", track(value), "server", 0),
        ("POST", "/v1/batch", batch(value), "server", 1),
        ("GET", f"/v1/pixel/track?data={quote(base64.b64encode(track(value)))}", b"", "server", 0),
        ("POST", "/v1/events", page_events(value), "server", 1),
        ("POST", "/segmentio/event?key=s", mobile(value), "segmentio", 0),
    ]
    for method, target, body, source, good in targets:
        before = app.app.counts.rejected[source, str(code)]
        answer, events = ask(app, method, target, body)
        assert answer.status == 200
        assert len(events) == good + (code is None)
        assert sum(event["name"] == "Good" for event in events) == good
        rejected[source] += app.app.counts.rejected[source, str(code)] - before
        if answer.headers["content-type"] == "application/json":
            assert [item["code"] for item in answer.json["rejected"]] == ([] if code is None else [code])
    assert rejected == ({"server": 4, "web": 0, "segmentio": 1} if code else dict.fromkeys(rejected, 0))


@pytest.mark.parametrize("name", VALUES)
def test_event_takes_any_text_as_the_platform_did(app: CollectorApp, name: str) -> None:
    value, code = VALUES[name]
    for method, target, body in (
        ("POST", "/event", b"event_type=odd&event=" + quote(b'{"a":%b}' % value).encode()),
        ("POST", "/event", b'{"event_type":"odd","event":%b}' % value),
        ("GET", f"/event?event_type=odd&event={quote(value)}", b""),
    ):
        answer, events = ask(app, method, target, body)
        assert (answer.status, answer.body) == (200, b"success")
        if code is None:
            assert len(events) == 1
    # What is not JSON stays the text that it is.
    _, [event] = ask(app, "POST", "/event", b"event_type=odd&event=%7B%22a%22%3A+NaN%7D")
    assert event["data"] == '{"a": NaN}'


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("target", ["/v1/track", "/v1/batch", "/v1/import", "/v1/events", "/segmentio/event?key=s"])
def test_a_bad_body_is_refused_with_a_reason(app: CollectorApp, target: str, name: str) -> None:
    body, status, code = BODIES[name]
    headers = {"content-encoding": "gzip"} if body[:1] == b"\x1f" else {}
    before = app.app.counts.refused[code]
    answer, events = ask(app, "POST", target, body, **headers)
    assert (answer.status, answer.json["code"], events) == (status, code, [])
    assert app.app.counts.refused[code] == before + 1
    assert ask(app, "POST", "/v1/track", track(b"1"))[1]


@pytest.mark.parametrize("body", [b"5", b'"text"', b"null", b"[[]]", b"true", b"NaN"])
def test_json_of_another_type_is_no_request(app: CollectorApp, body: bytes) -> None:
    codes = {target: ask(app, "POST", target, body)[0] for target in ("/v1/track", "/v1/batch", "/v1/events")}
    assert {answer.json["code"] for answer in codes.values()} <= {"not_an_object", "no_events"}
    assert {answer.status for answer in codes.values()} == {400}
    assert ask(app, "POST", "/v1/m", body)[0].status == 200
    [event] = ask(app, "POST", "/event", body)[1]
    assert event["name"] == "unknown"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("messageId", "x" * 10_000, "bad_id"),
        ("messageId", "a\x00", "bad_id"),
        ("messageId", 5, "bad_id"),
        ("event", "x" * 10_000, "invalid"),
        ("event", "a\x00", "invalid"),
        ("event", {}, "no_event"),
        ("type", {}, "bad_type"),
    ],
)
def test_a_bad_field_costs_its_item_alone(app: CollectorApp, field: str, value: Any, code: str) -> None:
    item = {"type": "track", "event": "Odd", "messageId": "m", field: value}
    body = json.dumps({"writeKey": "k2", "batch": [json.loads(GOOD), item, json.loads(GOOD)]}).encode()
    answer, events = ask(app, "POST", "/v1/batch", body)
    assert [event["name"] for event in events] == ["Good", "Good"]
    assert [(item["index"], item["code"]) for item in answer.json["rejected"]] == [(1, code)]


@pytest.mark.parametrize(
    ("timestamp", "is_kept"),
    [("1970-01-01T00:00:00Z", True), ("2099-01-01T00:00:00Z", False), ("soon", False), (5, False), ([], False)],
)
def test_no_event_is_of_the_future(app: CollectorApp, timestamp: Any, is_kept: bool) -> None:
    bodies = {
        "/v1/track": {"writeKey": "k2", "userId": "7", "event": "Odd", "timestamp": timestamp},
        "/v1/events": {"key": "k2", "events": [{"id": "t", "name": "odd", "timestamp": timestamp}]},
    }
    for target, body in bodies.items():
        [event] = ask(app, "POST", target, json.dumps(body).encode())[1]
        assert event["timestamp"].startswith("1970-01-01T00:00:00" if is_kept else "20")
        assert event["timestamp"] < "2099"


def test_keys_and_origins(app: CollectorApp) -> None:
    def code(key: Any, **headers: str) -> Any:
        answer, events = ask(app, "POST", "/v1/batch", json.dumps({"writeKey": key, "batch": [{}]}).encode(), **headers)
        assert events == []
        return answer.json.get("code", answer.status)

    assert [code(key) for key in ("new", "old")] == [200, 200]
    assert [code(key) for key in ("revoked", None, 5, {}, "", "x" * 10_000)] == ["unknown_key"] * 6
    assert code("new", origin="https://www.example.org.evil.test") == "foreign_origin"
    assert code("new", origin="null") == "foreign_origin"
    assert code("k2", origin="https://evil.test") == 200
    assert ask(app, "POST", "/event", b"event_type=a", origin="https://evil.test")[0].json["code"] == "foreign_origin"
    assert ask(app, "POST", "/segmentio/event?key=S", mobile(b"1"))[0].json["code"] == "unknown_key"


def test_a_source_beyond_its_rate_is_told_when_to_come_again(app: CollectorApp) -> None:
    body = b'{"writeKey":"k3","batch":[%b]}' % GOOD
    assert ask(app, "POST", "/v1/batch", body)[0].status == 200
    answer, events = ask(app, "POST", "/v1/batch", body)
    assert (answer.status, answer.json["code"], events) == (429, "rate", [])
    assert int(answer.headers["retry-after"]) >= 1


def test_a_forged_address_counts_for_nothing(app: CollectorApp) -> None:
    body = b'{"key":"k2","events":[{"id":"a","name":"a","context":{"ip":"6.6.6.6"}}]}'
    for headers in ({"x-forwarded-for": "6.6.6.6"}, {"forwarded": "for=6.6.6.6"}, {"x-real-ip": "6.6.6.6"}):
        [event] = ask(app, "POST", "/v1/events", body, **headers)[1]
        assert event["context"]["ip"] == "192.0.2.7"


def test_a_request_for_another_protocol_is_told_so(app: CollectorApp) -> None:
    # The parser hands the body of such a request to nobody.
    answer, _ = ask(app, "POST", "/v1/track", b"", **{"upgrade": "h2c", "content-length": "70"})
    assert (answer.status, answer.json["code"]) == (400, "upgrade")


def test_a_body_is_described_as_required_where_an_empty_one_is_refused(app: CollectorApp) -> None:
    described = openapi.describe(app.app._settings, app.app._routes)["paths"]
    operations = {path: found["post"] for path, found in described.items() if "post" in found}
    required = {path for path, operation in operations.items() if operation.get("requestBody", {}).get("required")}

    refused = {path for path in operations if ask(app, "POST", path)[0].status >= 400}

    assert required == refused
    assert "/v1/m" in operations.keys() - required


def test_every_code_of_the_collector_is_described() -> None:
    known = reasons.REFUSED.keys() | reasons.REJECTED.keys()
    rooms = [Path(room.__path__[0]) for room in (dispatcher.collector, dispatcher.intake)]
    before = r'Refused\(\s*\d+,|return|Rejected\(\w+, [\w.\[\]:]+,|problem =|refuse\(|_end\(b"[^"]*",'
    code = rf'(?:{before})\s*"([a-z_]+)"(?:,|\))'
    found = {name for room in rooms for file in room.rglob("*.py") for name in re.findall(code, file.read_text())}
    assert found <= known
    assert {"bad_http", "long_head", "client_gone", "bad_user", "too_deep", "rate"} <= found


@pytest.mark.parametrize(
    ("path", "allowed"), [("/healthz", "GET, HEAD"), ("/event", "GET, POST"), ("/v1/track", "POST")]
)
def test_a_method_that_a_path_does_not_take_is_answered_405(app: CollectorApp, path: str, allowed: str) -> None:
    answer = app.ask("TRACE", path)
    assert (answer.status, answer.headers["allow"], answer.json["code"]) == (405, allowed, "wrong_method")
