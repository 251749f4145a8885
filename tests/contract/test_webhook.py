"""The webhook over real HTTP: bodies, ids and signatures, verified by the convention's own package."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook as Receiver
from standardwebhooks.webhooks import WebhookVerificationError

from dispatcher.config import Settings
from dispatcher.destinations.base import Batch
from dispatcher.destinations.options import check_options
from dispatcher.event import Event, decode, encode
from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.tasks.destinations.webhook import Webhook, WebhookOptions, webhook_id
from dispatcher.tasks.testing import Call, Reply, Vendor

SECRET = f"whsec_{base64.b64encode(b'hidden-hidden-hidden-hidden').decode()}"
OLD_SECRET = f"whsec_{base64.b64encode(b'earlier-earlier-earlier-earlier').decode()}"

FORMS: list[dict[str, Any]] = [
    {},
    {"batch": True},
    {"format": "ndjson"},
    {"gzip": True},
    {"batch": True, "gzip": True, "method": "PUT"},
]


def an_event(number: int = 1, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": f"0193a1c2-7b1e-7000-8000-{number:012x}",
        "name": "shop.order.paid",
        "timestamp": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC) + timedelta(seconds=number),
        "data": {"order": number, "note": "Grüße 🎉"},
        "context": {"user_id": 7},
    }
    return Event(**(fields | changes))


@contextmanager
def a_webhook(server: Vendor, **options: Any) -> Iterator[Webhook]:
    webhook = Webhook("crm", WebhookOptions(**({"url": f"{server.url}/events"} | options)))
    try:
        yield webhook
    finally:
        webhook.close()


def delivered(webhook: Webhook, events: Sequence[Event], attempt: int = 0) -> list[Outcome]:
    payloads = tuple(encode(event) for event in events)
    return list(webhook.deliver(Batch(destination="crm", id="batch-1", payloads=payloads, attempt=attempt)))


@pytest.fixture
def server() -> Iterator[Vendor]:
    with Vendor() as server:
        yield server


def verify(secret: str, call: Call) -> None:
    """As a receiver does, behind a server that undid the compression. Raises WebhookVerificationError."""
    Receiver(secret).verify(call.content, dict(call.headers), json_parse=False)


# Bodies


def test_an_event_is_one_request_with_its_envelope_as_json(server: Vendor) -> None:
    event = an_event()
    with a_webhook(server) as webhook:
        assert delivered(webhook, [event]) == [DELIVERED]

    (call,) = server.calls
    assert (call.method, call.path, call.headers["content-type"]) == ("POST", "/events", "application/json")
    assert call.value == {
        "id": "0193a1c2-7b1e-7000-8000-000000000001",
        "type": "event",
        "name": "shop.order.paid",
        "timestamp": "2026-01-02T03:04:06.678901Z",
        "data": {"order": 1, "note": "Grüße 🎉"},
        "context": {"user_id": 7},
    }
    assert decode(call.body) == event


def test_a_batch_is_an_array_in_order(server: Vendor) -> None:
    events = [an_event(number) for number in range(5)]
    with a_webhook(server, batch=True, max_events=3) as webhook:
        assert delivered(webhook, events) == [DELIVERED] * 5

    assert [[event["data"]["order"] for event in call.value] for call in server.calls] == [[0, 1, 2], [3, 4]]


def test_ndjson_has_one_event_per_line(server: Vendor) -> None:
    events = [an_event(number, data={"text": "two\nlines"}) for number in range(3)]
    with a_webhook(server, format="ndjson") as webhook:
        assert delivered(webhook, events) == [DELIVERED] * 3

    (call,) = server.calls
    assert call.headers["content-type"] == "application/x-ndjson"
    assert call.body.endswith(b"}\n")
    assert [decode(line) for line in call.body.splitlines()] == events


def test_bodies_are_compressed_on_request(server: Vendor) -> None:
    with a_webhook(server, gzip=True) as webhook:
        assert delivered(webhook, [an_event(data={"note": "x" * 5000})]) == [DELIVERED]

    (call,) = server.calls
    assert call.headers["content-encoding"] == "gzip"
    assert len(call.body) < 1000 < len(call.content)


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_no_body_exceeds_the_size_in_the_settings(options: dict[str, Any], server: Vendor) -> None:
    events = [an_event(number, data={"note": "x" * 700}) for number in range(7)]
    with a_webhook(server, max_bytes=3000, **options) as webhook:
        assert delivered(webhook, [*events, an_event(8, data={"note": "x" * 3000})])[:7] == [DELIVERED] * 7
        (outcome,) = delivered(webhook, [an_event(9, data={"note": "x" * 3000})])

    assert max(len(call.content) for call in server.calls) <= 3000
    assert isinstance(outcome, Dead)
    assert outcome.reason == "oversized"


# Signatures


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_a_receiver_can_verify_what_it_gets(options: dict[str, Any], server: Vendor) -> None:
    with a_webhook(server, secret=SECRET, **options) as webhook:
        assert delivered(webhook, [an_event(number) for number in range(3)]) == [DELIVERED] * 3

    for call in server.calls:
        verify(SECRET, call)
        with pytest.raises(WebhookVerificationError):
            verify(OLD_SECRET, call)


def test_during_a_secret_rotation_both_secrets_verify(server: Vendor) -> None:
    with a_webhook(server, secret=f"{SECRET} {OLD_SECRET}") as webhook:
        delivered(webhook, [an_event()])

    (call,) = server.calls
    assert [one.partition(",")[0] for one in call.headers["webhook-signature"].split(" ")] == ["v1", "v1"]
    verify(SECRET, call)
    verify(OLD_SECRET, call)


def test_the_signature_follows_the_specification(server: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.tasks.destinations.webhook.time", lambda: 1674087231.9)
    with a_webhook(server, secret=SECRET) as webhook:
        request = webhook.request([webhook.item(an_event())])
        signed = webhook.sign(request)

    assert signed.headers["webhook-timestamp"] == "1674087231"
    at = datetime.fromtimestamp(1674087231, UTC)
    expected = Receiver(SECRET).sign(an_event().id, at, request.body.decode())
    assert signed.headers["webhook-signature"] == expected


def test_without_a_secret_requests_have_an_id_and_a_time_but_no_signature(server: Vendor) -> None:
    with a_webhook(server) as webhook:
        delivered(webhook, [an_event()])

    (call,) = server.calls
    assert call.headers["webhook-id"] == an_event().id
    assert abs(int(call.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 300
    assert "webhook-signature" not in call.headers


def test_a_retry_has_the_same_id_and_the_time_of_the_attempt(server: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script = [Reply(status=503)]
    events = [an_event(number) for number in range(3)]
    times = iter([1_800_000_000.0, 1_800_000_600.0])
    monkeypatch.setattr("dispatcher.tasks.destinations.webhook.time", lambda: next(times))
    with a_webhook(server, batch=True, secret=SECRET) as webhook:
        assert isinstance(delivered(webhook, events)[0], RetryAfter)
        assert delivered(webhook, events, attempt=1) == [DELIVERED] * 3

    first, again = (call.headers for call in server.calls)
    assert again["webhook-id"] == first["webhook-id"]
    assert int(again["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 600
    assert again["webhook-signature"] != first["webhook-signature"]


@pytest.mark.parametrize("event_id", ["order.17", "a b", "Grüße", "x" * 101, "order\x7f17"])
def test_an_id_unfit_for_a_header_becomes_a_digest(event_id: str, server: Vendor) -> None:
    with a_webhook(server, secret=SECRET) as webhook:
        assert delivered(webhook, [an_event(id=event_id)]) == [DELIVERED]

    (call,) = server.calls
    assert len(call.headers["webhook-id"]) == 64
    assert call.headers["webhook-id"].isalnum()
    verify(SECRET, call)


def test_requests_with_different_events_have_different_ids() -> None:
    ids = [("a",), ("a", "b"), ("b", "a"), ("a", "b", "c"), ("ab",), ('a","b',), ("a.b",)]

    assert len({webhook_id(found) for found in ids}) == len(ids)
    assert all(webhook_id(found) == webhook_id(list(found)) for found in ids)


# Headers, query, and what is refused


def test_headers_and_query_of_the_settings_are_sent(server: Vendor) -> None:
    headers = {"Authorization": "Bearer hidden-token", "X-Source": "edge"}
    with a_webhook(server, headers=headers, query={"code": "a/b&c=ü"}) as webhook:
        assert delivered(webhook, [an_event()]) == [DELIVERED]
        shown = json.dumps(webhook.preview(an_event()))

    (call,) = server.calls
    assert (call.headers["authorization"], call.headers["x-source"]) == ("Bearer hidden-token", "edge")
    assert call.query == {"code": "a/b&c=ü"}
    assert "hidden-token" not in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "ftp://example.org/"}, "scheme, host and path"),
        ({"url": "https://"}, "scheme, host and path"),
        ({"url": "https://example.org/#part"}, "scheme, host and path"),
        ({"url": "https://ada:hidden-password@example.org/"}, "Authorization header"),
        ({"url": "https://example.org/?code=17"}, "query"),
        ({"url": "https://example.org:0/"}, "port"),
        ({"headers": {"X Source": "hidden-value"}}, "not a header's name"),
        ({"headers": {"X-Source": "hidden-value\r\nX-Other: 1"}}, "X-Source"),
        ({"headers": {"X-Source": "hidden-välue"}}, "X-Source"),
        ({"headers": {"webhook-ID": "hidden-value"}}, "leave it out"),
        ({"headers": {"Content-Type": "hidden-value"}}, "leave it out"),
        ({"secret": "hidden-value"}, "whsec_"),
        ({"secret": "whsec_hidden!value"}, "whsec_"),
        ({"secret": f"whsec_{base64.b64encode(b'hidden').decode()}"}, "24 to 64"),
        ({"secret": f"whsec_{base64.b64encode(b'h' * 65).decode()}"}, "24 to 64"),
        ({"secret": f"{SECRET} hidden-value"}, "whsec_"),
        ({"format": "xml"}, "format"),
        ({"method": "GET"}, "method"),
        ({"max_events": 0}, "max_events"),
    ],
    ids=str,
)
def test_unusable_settings_are_refused_without_showing_a_secret(options: dict[str, Any], said: str) -> None:
    options = {"url": "https://example.org/events", **options}

    with pytest.raises(ValidationError) as refused:
        WebhookOptions(**options)
    problems = check_options(Settings.model_validate({"destinations": {"crm": {"type": "webhook", **options}}}))

    assert said in str(refused.value)
    assert len(problems) == 1
    for text in (str(refused.value), problems[0]):
        assert "hidden" not in text


def test_an_untrusted_certificate_is_a_setup_error() -> None:
    server = Vendor()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server.tls)
    with server, a_webhook(server) as webhook:
        (outcome,) = delivered(webhook, [an_event()])

    assert isinstance(outcome, RetryAfter)
    assert outcome.retry_class == "setup"
    assert "certificate" in outcome.error
    assert list(server.calls) == []
