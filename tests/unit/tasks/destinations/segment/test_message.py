"""What a Segment user finds in Segment: events and direct calls as messages of its HTTP API."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.json import decode as decode_json
from pydantic import SecretStr, ValidationError

from dispatcher.errors import DropEvent
from dispatcher.event import Event, decode, encode
from dispatcher.tasks.destinations.segment import LIBRARY, Segment, SegmentOptions, to_message

REQUEST_CONTEXT = {
    "ip": "203.0.113.9",
    "agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "path": "/courses/course-v1:Shore+KNOT101+2026/about",
    "referer": "https://learn.example.org/",
    "host": "learn.example.org",
    "page": None,
    "client_id": "1033501218.1368477899",
    "session": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "user_id": 7,
    "username": "ada",
    "course_id": "course-v1:Shore+KNOT101+2026",
}
FILLED_CONTEXT = {
    "ip": "203.0.113.9",
    "userAgent": "Mozilla/5.0 (X11; Linux x86_64)",
    "page": {
        "path": "/courses/course-v1:Shore+KNOT101+2026/about",
        "referrer": "https://learn.example.org/",
        "url": "https://learn.example.org/courses/course-v1:Shore+KNOT101+2026/about",
    },
    "Google Analytics": {"clientId": "1033501218.1368477899"},
    "library": LIBRARY,
}


def an_event(**changes: Any) -> Event:
    fields = {
        "id": "019abcde-0000-7000-8000-000000000001",
        "name": "edx.course.enrollment.activated",
        "timestamp": datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC),
        "data": {"mode": "honor", "course_id": "course-v1:Shore+KNOT101+2026"},
        "context": REQUEST_CONTEXT,
    }
    return Event(**(fields | changes))


def a_call(kind: str, **data: Any) -> Event:
    return an_event(type=kind, name=data.get("event", kind), data=data)


def test_an_event_becomes_a_track_call_with_its_own_id_and_time() -> None:
    assert to_message(an_event()) == {
        "type": "track",
        "messageId": "019abcde-0000-7000-8000-000000000001",
        "timestamp": "2026-11-23T13:50:44.123456Z",
        "userId": "7",
        "event": "edx.course.enrollment.activated",
        "properties": {"mode": "honor", "course_id": "course-v1:Shore+KNOT101+2026"},
        "context": FILLED_CONTEXT,
    }


@pytest.mark.parametrize("microsecond", [0, 120_000, 1])
def test_the_timestamp_equals_the_one_on_the_wire(microsecond: int) -> None:
    event = an_event(timestamp=datetime(2026, 1, 2, 3, 4, 5, microsecond, tzinfo=UTC))
    assert f'"timestamp":"{to_message(event)["timestamp"]}"'.encode() in encode(event)


@pytest.mark.parametrize("nobody", [None, ""])
@pytest.mark.parametrize(
    ("context", "anonymous_id"),
    [
        ({"anonymous_id": "a", "session": "s", "client_id": "c"}, "a"),
        ({"anonymous_id": "", "session": "s", "client_id": "c"}, "s"),
        ({"session": None, "client_id": "c"}, "c"),
        ({"session": {"not": "an id"}}, "019abcde-0000-7000-8000-000000000001"),
        ({}, "019abcde-0000-7000-8000-000000000001"),
    ],
)
def test_without_a_user_the_anonymous_id_is_the_best_known_id(
    context: dict[str, Any], anonymous_id: str, nobody: str | None
) -> None:
    message = to_message(an_event(context=context | {"user_id": nobody}))
    assert message["anonymousId"] == anonymous_id
    assert "userId" not in message


@pytest.mark.parametrize(("user_id", "expected"), [(0, "0"), (7, "7"), ("7", "7"), ("ada", "ada")])
def test_user_ids_become_text(user_id: Any, expected: str) -> None:
    assert to_message(an_event(context={"user_id": user_id}))["userId"] == expected


@pytest.mark.parametrize(
    ("data", "properties"),
    [
        ({}, {}),
        (None, {}),
        ("input_1_2_1=choice_0&input_1_3_1=", {"data": "input_1_2_1=choice_0&input_1_3_1="}),
        ([1, 2], {"data": [1, 2]}),
    ],
)
def test_properties_are_always_an_object(data: Any, properties: dict[str, Any]) -> None:
    assert to_message(an_event(data=data))["properties"] == properties


@pytest.mark.parametrize("kind", ["event", "track", "page", "screen"])
def test_amounts_that_are_the_text_of_a_number_become_numbers(kind: str) -> None:
    products = [{"product_id": "17", "price": "24.95", "quantity": "2"}, "24.95"]
    given = {"revenue": "49.90", "value": "49,90", "tax": "1_000", "order_id": "7", "products": products}
    event = an_event(data=given) if kind == "event" else a_call(kind, userId="7", event="paid", properties=given)
    before = copy.deepcopy(event)

    assert to_message(event)["properties"] == {
        "revenue": 49.9,
        "value": "49,90",
        "tax": "1_000",
        "order_id": "7",
        "products": [{"product_id": "17", "price": 24.95, "quantity": 2}, "24.95"],
    }
    assert event == before


def test_what_came_over_http_stays_the_text_that_it_was() -> None:
    given = {"revenue": "49.90", "products": [{"price": "24.95"}]}
    event = copy.deepcopy(a_call("track", userId="7", event="paid", properties=given))
    event.context["collector_source"] = "server"
    assert to_message(event)["properties"] == given


def test_edx_properties_are_the_whole_event_plus_google_analytics_fields() -> None:
    message = to_message(an_event(), properties="edx")
    assert message["event"] == "edx.course.enrollment.activated"
    assert message["properties"] == {
        "name": "edx.course.enrollment.activated",
        "timestamp": "2026-11-23T13:50:44.123456+00:00",
        "data": {"mode": "honor", "course_id": "course-v1:Shore+KNOT101+2026"},
        "context": REQUEST_CONTEXT,
        "label": "course-v1:Shore+KNOT101+2026",
        "courserun_key": "course-v1:Shore+KNOT101+2026",
        "nonInteraction": 1,
    }
    assert message["context"] == FILLED_CONTEXT


@pytest.mark.parametrize(
    ("course_id", "expected"),
    [
        (None, {}),
        ("", {"label": ""}),
        ("not a course", {"label": "not a course"}),
        ("ShoreX/Knots/2026", {"label": "ShoreX/Knots/2026", "courserun_key": "ShoreX/Knots/2026"}),
        (
            "ccx-v1:Shore+KNOT101+2026+ccx@3",
            {"label": "ccx-v1:Shore+KNOT101+2026+ccx@3", "courserun_key": "ccx-v1:Shore+KNOT101+2026+ccx@3"},
        ),
    ],
)
def test_edx_label_is_the_course_and_courserun_key_only_a_valid_key(
    course_id: str | None, expected: dict[str, str]
) -> None:
    properties = to_message(an_event(context={"course_id": course_id}), properties="edx")["properties"]
    assert {key: properties[key] for key in ("label", "courserun_key") if key in properties} == expected
    assert properties["nonInteraction"] == 1


def test_the_page_of_a_browser_event_is_the_url() -> None:
    page = to_message(an_event(context=REQUEST_CONTEXT | {"page": "https://other.example.org/x?y#z"}))["context"][
        "page"
    ]
    assert page["url"] == "https://other.example.org/x?y#z"


@pytest.mark.parametrize(
    ("context", "page"),
    [
        ({"path": "/a", "host": "h.example"}, {"path": "/a", "url": "https://h.example/a"}),
        ({"path": "a", "host": "h.example"}, {"path": "a", "url": "https://h.example/a"}),
        ({"path": "/a"}, {"path": "/a"}),
        ({"host": "h.example"}, None),
        ({"referer": "https://r.example/"}, {"referrer": "https://r.example/"}),
        ({"path": 5, "host": ["h"], "referer": {}}, None),
    ],
)
def test_a_page_has_only_the_known_fields(context: dict[str, Any], page: dict[str, str] | None) -> None:
    assert to_message(an_event(context=context))["context"].get("page") == page


@pytest.mark.parametrize("context", [{}, dict.fromkeys(REQUEST_CONTEXT), dict.fromkeys(REQUEST_CONTEXT, "")])
def test_an_empty_tracking_context_leaves_only_the_library(context: dict[str, Any]) -> None:
    assert to_message(an_event(context=context))["context"] == {"library": LIBRARY}


def test_a_track_call_is_passed_on_with_a_completed_context() -> None:
    call = a_call(
        "track",
        userId="12",
        event="Order Completed",
        properties={"total": 27.5, "label": "spring"},
        integrations={"All": False, "Mixpanel": True},
    )
    assert to_message(call) == {
        "type": "track",
        "messageId": "019abcde-0000-7000-8000-000000000001",
        "timestamp": "2026-11-23T13:50:44.123456Z",
        "userId": "12",
        "event": "Order Completed",
        "properties": {"total": 27.5, "label": "spring"},
        "integrations": {"All": False, "Mixpanel": True},
        "context": FILLED_CONTEXT,
    }


@pytest.mark.parametrize(
    ("kind", "said", "expected"),
    [
        ("identify", {"traits": {"email": "ada@example.org"}}, {"traits": {"email": "ada@example.org"}}),
        ("identify", {}, {"traits": {}}),
        (
            "page",
            {"name": "Home", "category": "Docs", "properties": {"a": 1}},
            {"name": "Home", "category": "Docs", "properties": {"a": 1}},
        ),
        ("page", {}, {"properties": {}}),
        ("screen", {"name": "Feed"}, {"name": "Feed", "properties": {}}),
        ("group", {"groupId": "g", "traits": {"plan": "x"}}, {"groupId": "g", "traits": {"plan": "x"}}),
        ("alias", {"previousId": "anon"}, {"previousId": "anon"}),
    ],
)
def test_every_type_of_call_keeps_its_values_and_gets_the_tracking_context(
    kind: str, said: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert to_message(a_call(kind, userId="12", **said)) == expected | {
        "type": kind,
        "messageId": "019abcde-0000-7000-8000-000000000001",
        "timestamp": "2026-11-23T13:50:44.123456Z",
        "userId": "12",
        "context": FILLED_CONTEXT,
    }


def test_the_edx_option_does_not_change_direct_calls() -> None:
    call = a_call("track", userId="12", event="Order Completed", properties={"total": 1})
    assert to_message(call, properties="edx") == to_message(call)


def test_the_callers_context_wins() -> None:
    said = {
        "ip": "192.0.2.200",
        "userAgent": "mine",
        "page": {"path": "/mine", "referrer": "r", "url": "u"},
        "Google Analytics": {"clientId": "mine"},
        "library": {"name": "theirs", "version": "9"},
        "locale": "de",
    }
    assert to_message(a_call("track", userId="1", event="E", context=said))["context"] == said


CONSENT = {"categoryPreferences": {"Analytics": True, "Advertising": False}}


@pytest.mark.parametrize("properties", ["data", "edx"])
def test_segment_gets_the_consent_and_integrations_of_an_event(properties: Any) -> None:
    context = REQUEST_CONTEXT | {"consent": CONSENT, "integrations": {"All": False, "Mixpanel": True}}
    message = to_message(an_event(context=context), properties=properties)
    assert message["context"] == FILLED_CONTEXT | {"consent": CONSENT}
    assert message["integrations"] == {"All": False, "Mixpanel": True}


def test_an_empty_consent_object_is_passed_on_because_it_matters() -> None:
    assert to_message(an_event(context={"consent": {}}))["context"]["consent"] == {}


@pytest.mark.parametrize("said", [None, {}, "text", []])
def test_empty_integrations_are_left_out(said: Any) -> None:
    assert "integrations" not in to_message(an_event(context={"integrations": said}))


def test_a_call_without_own_consent_and_integrations_gets_the_requests() -> None:
    context = REQUEST_CONTEXT | {"consent": CONSENT, "integrations": {"Mixpanel": False}}
    silent = to_message(an_event(type="track", data={"userId": "1", "event": "E"}, context=context))
    assert (silent["context"]["consent"], silent["integrations"]) == (CONSENT, {"Mixpanel": False})

    own = {"categoryPreferences": {}}
    said = {"userId": "1", "event": "E", "context": {"consent": own}, "integrations": {"All": True}}
    spoken = to_message(an_event(type="track", data=said, context=context))
    assert (spoken["context"]["consent"], spoken["integrations"]) == (own, {"All": True})


def test_a_partial_context_of_the_caller_is_completed() -> None:
    said = {"page": {"title": "Mine", "path": "/mine"}, "Google Analytics": {"sessionId": "s"}, "ip": None}
    context = to_message(a_call("identify", userId="1", context=said))["context"]
    assert context["page"] == FILLED_CONTEXT["page"] | {"title": "Mine", "path": "/mine"}
    assert context["Google Analytics"] == {"sessionId": "s", "clientId": "1033501218.1368477899"}
    assert context["ip"] is None
    assert context["userAgent"] == "Mozilla/5.0 (X11; Linux x86_64)"


@pytest.mark.parametrize("context", ["text", ["a"], 5])
def test_a_callers_context_other_than_an_object_is_replaced(context: Any) -> None:
    assert to_message(a_call("track", userId="1", event="E", context=context))["context"] == FILLED_CONTEXT


def test_a_callers_page_other_than_an_object_is_unchanged() -> None:
    context = to_message(a_call("track", userId="1", event="E", context={"page": "Home"}))["context"]
    assert context["page"] == "Home"


def test_a_call_with_an_anonymous_id_does_not_get_the_requests_user() -> None:
    message = to_message(a_call("track", anonymousId="visitor", event="E"))
    assert message["anonymousId"] == "visitor"
    assert "userId" not in message


def test_a_call_may_have_both_ids() -> None:
    message = to_message(a_call("identify", userId="1", anonymousId="visitor"))
    assert (message["userId"], message["anonymousId"]) == ("1", "visitor")


def test_a_call_without_a_person_gets_the_requests_user() -> None:
    assert to_message(a_call("track", event="E"))["userId"] == "7"


def test_a_call_without_a_person_outside_a_request_still_has_an_id() -> None:
    call = Event(id="an-id", type="track", name="E", timestamp=datetime.now(UTC), data={"event": "E"}, context={})
    assert to_message(call)["anonymousId"] == "an-id"


@pytest.mark.parametrize(
    ("event", "identified"),
    [
        (an_event(context={"ip": "192.0.2.7", "agent": "Mozilla", "session": ""}), False),
        (an_event(context={}), False),
        (an_event(context={"session": "a-hash"}), True),
        (an_event(context={"user_id": 0}), True),
        (a_call("track", anonymousId="visitor", event="E"), True),
    ],
)
def test_events_of_whom_nothing_is_known_can_be_left_out(event: Event, identified: bool) -> None:
    segment = Segment("segment", SegmentOptions(unidentified="skip"))

    if identified:
        assert decode_json(segment.item(event)) == to_message(event)
    else:
        with pytest.raises(DropEvent, match="unidentified"):
            segment.item(event)
    assert decode_json(Segment("segment", SegmentOptions()).item(event)) == to_message(event)


@pytest.mark.parametrize("kind", ["event", "track", "identify", "page", "screen", "group", "alias"])
@pytest.mark.parametrize("properties", ["data", "edx"])
def test_mapping_changes_nothing_of_the_event(kind: str, properties: Any) -> None:
    event = an_event(
        type=kind, data={"context": {"page": {"title": "T"}, "Google Analytics": {}}, "properties": {"a": 1}}
    )
    before = copy.deepcopy(event)
    message = to_message(event, properties=properties)
    message["context"]["page"]["path"] = "changed"
    message["context"]["library"]["name"] = "changed"
    assert event == before
    assert LIBRARY["name"] == "dispatcher"


def test_the_same_event_makes_the_same_message_each_time() -> None:
    payload = encode(an_event(context={}))
    assert to_message(decode(payload)) == to_message(decode(payload))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "api.segment.io",
        "ftp://api.segment.io",
        "https://",
        "https://key@api.segment.io",
        "https://a/?q",
        "http://a:0",
    ],
)
def test_a_host_other_than_a_plain_url_is_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        SegmentOptions(host=host)


@pytest.mark.parametrize("timeout", [0, -1])
def test_timeouts_are_positive(timeout: float) -> None:
    with pytest.raises(ValidationError):
        SegmentOptions(timeout_seconds=timeout)


def test_the_write_key_is_not_shown() -> None:
    assert "hidden-key" not in repr(SegmentOptions(write_key="hidden-key"))


@pytest.mark.parametrize("text", ["", "plain", 'a "quote", a: colon', "é\u2028", "\x7f", "🙂", "\x00\n"])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_the_size_of_a_request_is_known_without_making_it(text: str, count: int) -> None:
    segment = Segment("segment", SegmentOptions(write_key=SecretStr("key")))
    try:
        items = [
            segment.item(an_event(data={"text": text, "nested": [text, {text: 1.5}], "n": n})) for n in range(count)
        ]
        known = segment.body_bytes(items, sum(segment.item_bytes(item) for item in items))
        # The time of sending comes in addition.
        assert known == len(segment.request(items).body) + len("2026-01-01T00:00:00.000Z")
    finally:
        segment.close()
