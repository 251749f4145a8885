"""Google over real HTTP: against servers that check every request against the documented rules."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatcher.destinations.base import Batch
from dispatcher.emit.ids import IdSource
from dispatcher.event import Event, encode
from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.tasks.destinations.firebase import Firebase, FirebaseOptions
from dispatcher.tasks.destinations.google_analytics import GoogleAnalytics, GoogleAnalyticsOptions
from dispatcher.tasks.destinations.google_tag_manager import GoogleTagManager, GoogleTagManagerOptions
from tests.support.edx_contexts import REQUEST
from tests.support.vendor import SILENT, Reply
from tests.support.vendors.google import (
    API_SECRET,
    FIREBASE_APP_ID,
    MEASUREMENT_ID,
    GoogleCollect,
    ServerContainer,
)

APP_INSTANCE_ID = "0123456789abcdefABCDEF0123456789"
SECRET = "hidden-value"

_new_id = IdSource().new


def an_event(number: int = 0, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": _new_id(),
        "name": "edx.course.enrollment.activated",
        "timestamp": datetime.now(UTC) - timedelta(minutes=1),
        "data": {"label": "course-v1:Shore+KNOT101+2026", "value": number},
        "context": REQUEST,
    }
    return Event(**(fields | changes))


def a_batch(events: Sequence[Event]) -> Batch:
    return Batch(destination="google", id="batch-1", payloads=tuple(encode(event) for event in events))


def an_analytics(server: GoogleCollect, **options: Any) -> GoogleAnalytics:
    given = {"endpoint": server.url, "measurement_id": MEASUREMENT_ID, "api_secret": API_SECRET}
    return GoogleAnalytics("google", GoogleAnalyticsOptions(**(given | options)))


def reasons(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.reason if isinstance(outcome, Dead) else type(outcome).__name__ for outcome in outcomes]


def errors(outcomes: Sequence[Outcome]) -> str:
    return "\n".join(outcome.error for outcome in outcomes if isinstance(outcome, Dead | RetryAfter))


def test_events_are_sent_by_person_at_most_twenty_five_per_request() -> None:
    people = [{**REQUEST, "user_id": user_id} for user_id in (1, 2, 3)]
    events = [an_event(number, context=people[number % 3]) for number in range(90)]
    with GoogleCollect() as server:
        assert list(an_analytics(server).deliver(a_batch(events))) == [DELIVERED] * 90
        assert server.violations == []
        assert server.taken == {event.id: 1 for event in events}
        assert sorted(len(call.value["events"]) for call in server.calls) == [5, 5, 5, 25, 25, 25]
        assert len({call.value["client_id"] for call in server.calls}) == 3


def test_texts_of_maximum_length_keep_within_googles_request_size() -> None:
    items = [{"item_id": str(number), "item_name": "ü" * 100} for number in range(150)]
    data = {f"p{number}": "你" * 1000 for number in range(20)} | {"items": items}
    events = [an_event(data=data) for _ in range(20)]
    with GoogleCollect() as server:
        assert list(an_analytics(server).deliver(a_batch(events))) == [DELIVERED] * 20
        assert server.violations == []
        assert sum(server.taken.values()) == 20


def test_each_bad_event_is_dead_with_its_reason_and_no_other_is() -> None:
    bad = {
        "missing_client_id": an_event(context={}),
        "too_old": an_event(timestamp=datetime.now(UTC) - timedelta(hours=73)),
        "invalid": an_event(name="session_start"),
        "oversized": an_event(data={"items": [{"item_name": "x" * 100}] * 1200}),
    }
    with GoogleCollect() as server:
        outcomes = an_analytics(server).deliver(a_batch([an_event(), *bad.values(), an_event()]))
        assert reasons(outcomes) == ["Delivered", *bad, "Delivered"]
        assert server.violations == []
        assert sum(server.taken.values()) == 2


def test_an_old_event_sent_with_the_current_time_is_accepted() -> None:
    with GoogleCollect() as server:
        event = an_event(timestamp=datetime.now(UTC) - timedelta(days=30))
        assert list(an_analytics(server, too_old="now").deliver(a_batch([event]))) == [DELIVERED]
        assert server.violations == []
        assert server.taken == {event.id: 1}


def test_google_does_not_report_a_wrong_secret() -> None:
    with GoogleCollect() as server:
        assert list(an_analytics(server, api_secret="another").deliver(a_batch([an_event()]))) == [DELIVERED]
        assert server.taken == {}


def test_debug_turns_googles_objections_into_dead_letters() -> None:
    events = [an_event(number) for number in range(8)]
    events[3] = an_event(data={"label": f"{SECRET} poison"})
    with GoogleCollect() as server:
        outcomes = an_analytics(server, debug=True).deliver(a_batch(events))
        assert reasons(outcomes) == ["invalid" if number == 3 else "Delivered" for number in range(8)]
        assert "events.params.label has a value that is not allowed (VALUE_INVALID)" in errors(outcomes)
        assert SECRET not in errors(outcomes)
        assert server.taken == {event.id: 1 for number, event in enumerate(events) if number != 3}
        asked = [call.value for call in server.calls if call.path == "/debug/mp/collect"]
        assert {body["validation_behavior"] for body in asked} == {"ENFORCE_RECOMMENDATIONS"}
        sent = [call.value for call in server.calls if call.path == "/mp/collect"]
        assert all("validation_behavior" not in body for body in sent)


def test_an_error_that_repeats_data_is_recorded_without_it() -> None:
    messages = [{"fieldPath": f"events {SECRET}", "description": SECRET, "validationCode": SECRET + "!"}, "?", {}, {}]
    objection = Reply(body=json.dumps({"validationMessages": messages}).encode())
    with GoogleCollect() as server:
        server.always = objection
        outcomes = an_analytics(server, debug=True).deliver(a_batch([an_event()]))
    assert reasons(outcomes) == ["invalid"]
    assert SECRET not in errors(outcomes)
    assert errors(outcomes).endswith("the request is not valid (no code); and 1 more")


@pytest.mark.parametrize("status", [200, 400])
def test_a_verdict_of_the_validation_server_that_breaks_off_is_asked_for_again(status: int) -> None:
    with GoogleCollect() as server:
        server.transfer = lambda _: [
            b'HTTP/1.1 %d A\r\nContent-Length: 99\r\n\r\n{"validationMessages": []}' % status,
            None,
        ]
        destination = an_analytics(server, debug=True, at_most_once=True)
        (outcome,) = destination.deliver(a_batch([an_event()]))
        assert isinstance(outcome, RetryAfter)
        assert outcome.retry_class == "transient"
        assert [call.path for call in server.calls] == ["/debug/mp/collect"]


@pytest.mark.parametrize(
    ("reply", "retry_class"),
    [
        (Reply(status=200, body=b"<html>"), "setup"),
        (Reply(status=204), "setup"),
        (Reply(status=404), "setup"),
        (Reply(status=503), "transient"),
        (SILENT, "transient"),
    ],
    ids=["no JSON", "nothing", "404", "503", "silent"],
)
def test_without_a_validation_server_nothing_is_sent_or_lost(reply: Reply, retry_class: str) -> None:
    with GoogleCollect() as server:
        server.always = reply
        timeout_seconds = 0.3 if reply is SILENT else 10
        destination = an_analytics(server, debug=True, at_most_once=True, timeout_seconds=timeout_seconds)
        (outcome,) = destination.deliver(a_batch([an_event()]))
        assert isinstance(outcome, RetryAfter)
        assert outcome.retry_class == retry_class
        assert [call.path for call in server.calls] == ["/debug/mp/collect"]


def test_no_logger_writes_the_secret_even_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    loggers = [logging.getLogger(name) for name in ("", "urllib3", "urllib3.connectionpool", "urllib3.util.retry")]
    levels = [logger.level for logger in loggers]
    caplog.set_level(logging.DEBUG)
    try:
        for logger in loggers:
            logger.setLevel(logging.DEBUG)
        with GoogleCollect() as server:
            an_analytics(server).deliver(a_batch([an_event()]))
            assert len(server.calls) == 1
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    assert API_SECRET not in caplog.text


def test_events_of_an_app_go_to_its_stream() -> None:
    context = {**REQUEST, "app_instance_id": APP_INSTANCE_ID}
    events = [an_event(name="screen_view", context=context), an_event(), an_event(context=context)]
    with GoogleCollect(stream="app") as server:
        options = FirebaseOptions(endpoint=server.url, firebase_app_id=FIREBASE_APP_ID, api_secret=API_SECRET)
        outcomes = Firebase("app", options).deliver(a_batch(events))
        assert reasons(outcomes) == ["Delivered", "missing_app_instance_id", "Delivered"]
        assert server.violations == []
        assert server.taken == {events[0].id: 1, events[2].id: 1}


def test_a_container_takes_hits_that_its_client_claims() -> None:
    with ServerContainer(path="/in") as server:
        options = GoogleTagManagerOptions(container_url=server.url, path="/in", preview_header="hidden-header")
        events = [an_event(number) for number in range(3)]
        assert list(GoogleTagManager("gtm", options).deliver(a_batch(events))) == [DELIVERED] * 3
        assert server.violations == []
        assert server.taken == {event.id: 1 for event in events}
        assert server.calls[0].headers["x-gtm-server-preview"] == "hidden-header"


def test_hits_that_no_client_of_the_container_claims_keep_waiting() -> None:
    with ServerContainer(published=False) as server:
        options = GoogleTagManagerOptions(container_url=server.url)
        outcomes = GoogleTagManager("gtm", options).deliver(a_batch([an_event(number) for number in range(3)]))
        assert {outcome.retry_class for outcome in outcomes if isinstance(outcome, RetryAfter)} == {"setup"}
        assert len(outcomes) == 3
        assert "no client of the container claims /mp/collect" in errors(outcomes)
        assert "DISPATCHER_DESTINATIONS__GTM__PATH" in errors(outcomes)
        assert len(server.calls) == 1
