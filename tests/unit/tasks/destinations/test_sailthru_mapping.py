"""What a Sailthru user finds: events of people, signed as the vendor requires."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import ValidationError
from sailthru.sailthru_client import get_signature_hash

from dispatcher.errors import UndeliverableError
from dispatcher.event import Event
from dispatcher.outcomes import DELIVERED, Dead, Filtered, Outcome, RetryAfter
from dispatcher.tasks.destinations.http import Answer
from dispatcher.tasks.destinations.sailthru import RESERVED_NAMES, Sailthru, SailthruOptions, signature

NOW = datetime(2026, 11, 23, 14, 0, 0, tzinfo=UTC)


def an_event(**changes: Any) -> Event:
    fields: dict[str, Any] = {
        "id": "019abcde-0000-7000-8000-000000000001",
        "name": "edx.course.enrollment.activated",
        "timestamp": datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC),
        "data": {"mode": "honor", "course": {"id": "course-v1:Shore+KNOT101+2026"}},
        "context": {"user_id": 7, "email": "ada@example.org"},
    }
    return Event(**(fields | changes))


def a_sailthru(**options: Any) -> Sailthru:
    return Sailthru("mail", SailthruOptions(**{"api_key": "hidden-key", "secret": "hidden-secret", **options}))


def an_answer(status: int, code: object = None, headers: dict[str, str] | None = None) -> Answer:
    body = b"{}" if code is None else json.dumps({"error": code, "errormsg": "about ada@example.org"}).encode()
    return Answer(status=status, headers=headers or {}, body=body)


def fate(outcome: Outcome) -> str:
    match outcome:
        case RetryAfter(retry_class=retry_class):
            return retry_class
        case Dead(reason=reason) | Filtered(reason=reason):
            return reason
    return "delivered"


def test_an_event_becomes_an_event_of_the_person_with_its_data_as_vars() -> None:
    assert a_sailthru().item(an_event()) == {
        "id": "ada@example.org",
        "key": "email",
        "event": "edx.course.enrollment.activated",
        "vars": {
            "event_id": "019abcde-0000-7000-8000-000000000001",
            "event_time": "2026-11-23T13:50:44.123456Z",
            "mode": "honor",
            "course": {"id": "course-v1:Shore+KNOT101+2026"},
        },
    }


def test_vars_hold_only_the_data_if_the_settings_say_so() -> None:
    assert a_sailthru(event_vars=False).item(an_event(data={"mode": "honor"}))["vars"] == {"mode": "honor"}
    assert "vars" not in a_sailthru(event_vars=False).item(an_event(data={}))


def test_fields_of_the_data_win_over_added_ones() -> None:
    assert a_sailthru().item(an_event(data={"event_id": "theirs"}))["vars"]["event_id"] == "theirs"


@pytest.mark.parametrize(("data", "expected"), [("a=1&b=2", {"data": "a=1&b=2"}), (None, {}), ([1], {"data": [1]})])
def test_data_other_than_an_object_becomes_one_var(data: object, expected: dict[str, Any]) -> None:
    assert a_sailthru(event_vars=False).item(an_event(data=data)).get("vars", {}) == expected


def test_the_user_id_is_the_extid_of_a_person_without_an_address() -> None:
    item = a_sailthru().item(an_event(context={"user_id": 7}))
    assert (item["id"], item["key"]) == ("7", "extid")


def test_the_order_of_keys_decides_how_a_person_is_identified() -> None:
    item = a_sailthru(keys=["extid", "email"]).item(an_event())
    assert (item["id"], item["key"]) == ("7", "extid")


@pytest.mark.parametrize("address", ["", "ada", "a***@example.org", "5f4dcc3b5aa765d61d8327deb882cf99", "@example.org"])
def test_a_masked_or_hashed_address_identifies_nobody(address: str) -> None:
    item = a_sailthru().item(an_event(context={"user_id": 7, "email": address}))
    assert (item["id"], item["key"]) == ("7", "extid")


@pytest.mark.parametrize(("keys", "context"), [(["email", "extid"], {}), (["email"], {"user_id": 7})])
def test_an_event_without_a_person_is_undeliverable_with_a_remedy(keys: list[str], context: dict[str, Any]) -> None:
    with pytest.raises(UndeliverableError, match=r"keys of \[destinations\.mail\]") as refused:
        a_sailthru(keys=keys).item(an_event(data={}, context=context))
    assert refused.value.reason == "missing_user"


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_events_with_sailthrus_own_names_are_not_sent(name: str) -> None:
    with pytest.raises(UndeliverableError, match="rename it") as refused:
        a_sailthru().item(an_event(name=name))
    assert refused.value.reason == "reserved_name"


def test_an_event_without_a_name_is_undeliverable() -> None:
    with pytest.raises(UndeliverableError, match="has no name"):
        a_sailthru().item(an_event(name=" "))


def test_a_request_is_a_signed_form() -> None:
    sailthru = a_sailthru(host="https://api.example.com/")
    item = sailthru.item(an_event(data={"text": "Grüße & 100 % = 你好 🎉"}))
    request = sailthru.request([item])
    form = {name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}

    assert (request.method, request.full_url) == ("POST", "https://api.example.com/event")
    assert request.headers == {"Content-Type": "application/x-www-form-urlencoded"}
    assert (form["api_key"], form["format"]) == ("hidden-key", "json")
    assert json.loads(form["json"]) == item
    assert set(form) == {"api_key", "format", "json", "sig"}
    assert b"hidden-secret" not in request.body


def test_the_signature_equals_the_documented_one() -> None:
    # By md5sum, of the secret and the values in order: shhhh, 123, json, {"id":"a"}.
    assert signature("shhhh", {"json": '{"id":"a"}', "api_key": "123", "format": "json"}) == (
        "4ff12607a678c9ff3ae59ec0dadc0d39"
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"api_key": "abc", "format": "json", "json": '{"id":"ada@example.org"}'},
        {"api_key": "ABC", "format": "json", "json": '{"text":"Grüße, 你好 🎉"}'},
        {"api_key": "~~~", "format": "json", "json": "{}"},
    ],
    ids=["plain", "not-ascii", "other-order"],
)
def test_the_signature_equals_that_of_the_vendors_own_client(parameters: dict[str, str]) -> None:
    assert signature("secret", parameters) == get_signature_hash(parameters, "secret")


@pytest.mark.parametrize(
    ("absent", "variables"),
    [
        ({"api_key": None}, ["API_KEY"]),
        ({"secret": ""}, ["SECRET"]),
        ({"api_key": None, "secret": None}, ["API_KEY", "SECRET"]),
    ],
    ids=["key", "secret", "both"],
)
def test_a_missing_setting_is_named_by_its_variable(absent: dict[str, Any], variables: list[str]) -> None:
    missing = a_sailthru(**absent).missing_settings()
    assert missing is not None
    assert [name for name in ("API_KEY", "SECRET") if f"DISPATCHER_DESTINATIONS__MAIL__{name}" in missing] == variables


def test_nothing_is_missing_with_key_and_secret() -> None:
    assert a_sailthru().missing_settings() is None


@pytest.mark.parametrize("host", ["api.sailthru.com", "https://", "https://key@api.sailthru.com", "https://a.b/event"])
def test_a_host_consists_of_scheme_and_name(host: str) -> None:
    with pytest.raises(ValidationError, match="scheme and a host"):
        a_sailthru(host=host)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (200, None, "delivered"),
        (400, 2, "invalid"),
        (401, 3, "setup"),
        (403, 4, "setup"),
        (401, 5, "setup"),
        (400, 6, "invalid"),
        (500, 9, "transient"),
        (200, 9, "transient"),
        (400, 11, "invalid"),
        (200, "11", "invalid"),
        (400, 21, "setup"),
        (400, 32, "suppressed"),
        (400, 35, "suppressed"),
        (400, 42, "invalid"),
        (429, 43, "throttled"),
        (200, 43, "throttled"),
        (429, None, "throttled"),
        (400, 99, "invalid"),
        (409, 99, "invalid"),
        (500, 99, "transient"),
        (200, 99, "invalid"),
        (200, "wrong", "invalid"),
        (200, 1234, "invalid"),
        (200, 1e400, "invalid"),
        (200, False, "delivered"),
        (405, 1, "setup"),
        (404, None, "setup"),
        (503, None, "transient"),
    ],
)
def test_each_answer_has_its_outcome(status: int, code: object, expected: str) -> None:
    outcome = a_sailthru().outcome(an_answer(status, code), [{}])
    assert fate(outcome) == expected
    assert "ada@example.org" not in str(outcome)


def test_the_error_code_is_explained() -> None:
    outcome = a_sailthru().outcome(an_answer(401, 5), [{}])
    assert outcome == RetryAfter(
        "Sailthru at api.sailthru.com answered 401 with error 5, authentication failed: is the secret that of the API "
        "key?",
        None,
        "setup",
    )


def test_a_200_without_json_is_not_from_sailthru() -> None:
    outcome = a_sailthru().outcome(Answer(status=200, headers={}, body=b"<html>Please log in</html>"), [{}])
    assert fate(outcome) == "setup"
    assert "DISPATCHER_DESTINATIONS__MAIL__HOST" in str(outcome)


def test_an_empty_200_is_a_delivery() -> None:
    assert a_sailthru().outcome(Answer(status=200, headers={}, body=b""), [{}]) is DELIVERED


def seconds_of(headers: dict[str, str]) -> float | None:
    outcome = a_sailthru().outcome(an_answer(429, 43, headers), [{}])
    assert isinstance(outcome, RetryAfter)
    return outcome.seconds


def test_a_throttled_request_waits_for_the_reset_by_sailthrus_clock() -> None:
    date, reset = format_datetime(NOW, usegmt=True), NOW.timestamp() + 2
    assert seconds_of({"Date": date, "X-Rate-Limit-Reset": f"{reset:.0f}"}) == 2


def test_a_reset_within_this_second_waits_one_second() -> None:
    assert seconds_of({"Date": format_datetime(NOW, usegmt=True), "X-Rate-Limit-Reset": f"{NOW.timestamp():.0f}"}) == 1


def test_a_reset_is_ignored_for_other_failures() -> None:
    headers = {"Date": format_datetime(NOW, usegmt=True), "X-Rate-Limit-Reset": f"{NOW.timestamp() + 1:.0f}"}
    outcome = a_sailthru().outcome(an_answer(500, 99, headers), [{}])
    assert isinstance(outcome, RetryAfter)
    assert outcome.seconds is None


@pytest.mark.parametrize("reset", ["soon", "", "nan", "-1", str(NOW.timestamp() - 5), str(NOW.timestamp() + 86_400)])
def test_an_invalid_reset_leaves_the_pause_to_the_backoff(reset: str) -> None:
    assert seconds_of({"Date": format_datetime(NOW, usegmt=True), "X-Rate-Limit-Reset": reset}) is None


def test_a_missing_reset_leaves_the_pause_to_the_backoff() -> None:
    assert seconds_of({}) is None


def test_a_preview_shows_the_form_without_credentials() -> None:
    shown = a_sailthru().preview(an_event())
    assert shown["request"]["body"]["api_key"] == "***"
    assert shown["request"]["body"]["json"]["event"] == "edx.course.enrollment.activated"
    assert "hidden-" not in json.dumps(shown)
