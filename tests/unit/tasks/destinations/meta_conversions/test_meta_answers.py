"""Meta's answers as outcomes of the events of a request."""

from __future__ import annotations

import json
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from dispatcher.outcomes import DELIVERED, Dead, Outcome, RetryAfter
from dispatcher.tasks.destinations.http import Answer
from dispatcher.tasks.destinations.meta_conversions.answers import outcome_of_answer

LABEL = "MetaConversions at graph.facebook.com"


def an_answer(status: int, said: Any, **headers: str) -> Answer:
    named = CaseInsensitiveDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Answer(status=status, headers=named, body=said if isinstance(said, bytes) else json.dumps(said).encode())


def fate(status: int, **error: Any) -> Outcome:
    message = "Invalid parameter: ada@example.org"
    return outcome_of_answer(
        an_answer(status, {"error": {"message": message, "error_user_msg": message, "fbtrace_id": "AbC"} | error}),
        label=LABEL,
        sent=2,
    )


def fate_of(outcome: Outcome) -> str:
    match outcome:
        case RetryAfter(retry_class=retry_class):
            return retry_class
        case Dead(reason=reason):
            return reason
    return "delivered"


def test_received_events_are_delivered() -> None:
    assert outcome_of_answer(an_answer(200, {"events_received": 2}), label=LABEL, sent=2) is DELIVERED


def test_if_fewer_are_received_the_missing_events_are_found_by_bisection() -> None:
    answer = an_answer(200, {"events_received": 1, "fbtrace_id": "AbC"})

    assert outcome_of_answer(answer, label=LABEL, sent=2) == Dead(
        "invalid", f"{LABEL} received 1 of 2 events, fbtrace_id AbC"
    )


@pytest.mark.parametrize("said", [b"<html>Sign in</html>", b"", [], {}, {"events_received": True}])
def test_a_status_200_that_is_not_metas_is_retried(said: Any) -> None:
    assert fate_of(outcome_of_answer(an_answer(200, said), label=LABEL, sent=2)) == "transient"


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (500, {"code": 1}, "transient"),
        (400, {"code": 2}, "transient"),
        (400, {"code": 341}, "transient"),
        (400, {"code": 100, "is_transient": True}, "transient"),
        (503, {"code": 190}, "transient"),
        (400, {"code": 4}, "throttled"),
        (400, {"code": 17, "is_transient": True}, "throttled"),
        (400, {"code": 613}, "throttled"),
        (400, {"code": 80003}, "throttled"),
        (429, {"code": 1}, "throttled"),
        (401, {"code": 190, "error_subcode": 460}, "setup"),
        (400, {"code": 190}, "setup"),
        (400, {"code": 102}, "setup"),
        (403, {"code": 10}, "setup"),
        (403, {"code": 200}, "setup"),
        (400, {"code": 294}, "setup"),
        (400, {"code": 368}, "setup"),
        (400, {"code": 100, "error_subcode": 33}, "setup"),
        (400, {"code": 2635}, "setup"),
        (400, {"code": 100}, "invalid"),
        (400, {"code": 100, "error_subcode": 2804019}, "invalid"),
        (400, {"code": 100, "error_subcode": 2804003}, "too_old"),
        (400, {"code": 100, "error_subcode": 2804004}, "from_the_future"),
        (400, {"code": 100, "error_subcode": 2804050}, "missing_user_data"),
        # Unknown to us: as the status says.
        (400, {"code": 5000}, "invalid"),
        (413, {}, "oversized"),
        (403, {"code": 5000}, "setup"),
        (400, {"code": "100"}, "invalid"),
        # An error with 200 is no delivery.
        (200, {"code": 190}, "setup"),
        (200, {"code": 5000}, "transient"),
    ],
)
def test_an_error_means_what_metas_tables_say(status: int, error: dict[str, Any], expected: str) -> None:
    outcome = fate(status, **error)

    assert fate_of(outcome) == expected
    assert isinstance(outcome, Dead | RetryAfter)
    assert f"{LABEL} answered {status} with error" in outcome.error
    assert "fbtrace_id AbC" in outcome.error
    assert "ada@" not in outcome.error


def test_an_error_names_code_and_subcode() -> None:
    assert "error 100, subcode 2804009, fbtrace_id AbC: a Purchase" in str(fate(400, code=100, error_subcode=2804009))
    assert "subcode 2804001, fbtrace_id AbC: a value has a form" in str(fate(400, code=100, error_subcode=2804001))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "7"}, 7.0),
        ({"X_Business_Use_Case_Usage": '{"1": [{"estimated_time_to_regain_access": 19}, {"type": "ads"}]}'}, 1140.0),
        ({"X_Business_Use_Case_Usage": '{"1": [{"estimated_time_to_regain_access": 99999}]}'}, 86_400.0),
        ({"X_Business_Use_Case_Usage": '{"1": [{"estimated_time_to_regain_access": 0}]}'}, None),
        ({"X_Business_Use_Case_Usage": '{"1": 3}'}, None),
        ({"X_Business_Use_Case_Usage": "[]"}, None),
        ({"X_Business_Use_Case_Usage": "no JSON"}, None),
        ({}, None),
    ],
)
def test_a_throttled_request_waits_as_long_as_meta_says(headers: dict[str, str], seconds: float | None) -> None:
    outcome = outcome_of_answer(an_answer(400, {"error": {"code": 80004}}, **headers), label=LABEL, sent=1)

    assert isinstance(outcome, RetryAfter)
    assert (outcome.retry_class, outcome.seconds) == ("throttled", seconds)


@pytest.mark.parametrize("trace", ["x" * 65, 7, None, "", "ada@example.org"])
def test_a_malformed_trace_id_is_not_repeated(trace: object) -> None:
    outcome = fate(400, code=100, fbtrace_id=trace)

    assert isinstance(outcome, Dead)
    assert outcome.error == f"{LABEL} answered 400 with error 100"


@pytest.mark.parametrize(
    ("status", "expected"), [(401, "setup"), (404, "setup"), (502, "transient"), (413, "oversized")]
)
def test_an_answer_without_metas_error_means_what_its_status_says(status: int, expected: str) -> None:
    assert fate_of(outcome_of_answer(an_answer(status, b"<html>"), label=LABEL, sent=1)) == expected
