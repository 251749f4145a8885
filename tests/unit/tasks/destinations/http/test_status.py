"""HTTP answers and missing answers as outcomes, and the forms of Retry-After."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from socket import gaierror

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NameResolutionError, NewConnectionError

from dispatcher.outcomes import DELIVERED, Dead, RetryAfter
from dispatcher.tasks.destinations.http.status import outcome_of_error, outcome_of_status, retry_after_seconds

LABEL = "Segment at api.segment.io"
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_status_2xx_is_delivered(status: int) -> None:
    assert outcome_of_status(status, label=LABEL) is DELIVERED


@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504, 599])
def test_temporary_problems_are_transient(status: int) -> None:
    outcome = outcome_of_status(status, label=LABEL, retry_after="7")
    assert isinstance(outcome, RetryAfter)
    assert (outcome.retry_class, outcome.seconds) == ("transient", 7)
    assert outcome.error.startswith(f"{LABEL} answered {status}")


def test_status_429_is_throttled_until_the_retry_after_is_over() -> None:
    outcome = outcome_of_status(429, label=LABEL, retry_after="30")
    assert outcome == RetryAfter(f"{LABEL} answered 429 Too Many Requests", 30, "throttled")


@pytest.mark.parametrize("status", [400, 422])
def test_statuses_that_blame_the_contents_are_invalid(status: int) -> None:
    outcome = outcome_of_status(status, label=LABEL)
    assert isinstance(outcome, Dead)
    assert outcome.reason == "invalid"


def test_status_413_is_oversized() -> None:
    outcome = outcome_of_status(413, label=LABEL)
    assert isinstance(outcome, Dead)
    assert outcome.reason == "oversized"


@pytest.mark.parametrize("status", [301, 304, 401, 402, 403, 404, 405, 410, 415, 418])
def test_statuses_about_url_or_credentials_are_setup_and_make_nothing_dead(status: int) -> None:
    outcome = outcome_of_status(status, label=LABEL)
    assert isinstance(outcome, RetryAfter)
    assert outcome.retry_class == "setup"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("1.5", 1.5),
        (" 5 ", 5.0),
        ("Mon, 23 Nov 2026 12:01:30 GMT", 90.0),
        ("Mon, 23 Nov 2026 12:01:30 -0000", 90.0),
        ("Monday, 23-Nov-26 12:00:10 GMT", 10.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("-5", 0.0),
        ("999999999", 86_400.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_may_be_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


def caused_by(cause: BaseException) -> requests.ConnectionError:
    try:
        try:
            raise cause
        except BaseException as error:
            raise requests.ConnectionError("to https://key@host/?secret=1") from error
    except requests.ConnectionError as error:
        return error


def unknown_host() -> requests.ConnectionError:
    reason = NameResolutionError("api.segment.example", None, gaierror(-2, "unknown"))  # type: ignore[arg-type]
    return requests.ConnectionError(MaxRetryError(None, "/v1/batch", reason))  # type: ignore[arg-type]


def test_an_unknown_host_and_an_untrusted_certificate_are_setup_errors() -> None:
    untrusted = ssl.SSLCertVerificationError("no")
    untrusted.verify_message = "self-signed certificate"
    for error in (caused_by(gaierror(-2, "unknown")), unknown_host(), caused_by(untrusted)):
        outcome = outcome_of_error(error, label=LABEL, connect_seconds=3, answer_seconds=10)
        assert outcome.retry_class == "setup", outcome


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectTimeout("to https://key@host/?secret=1"),
        requests.ReadTimeout("to https://key@host/?secret=1"),
        requests.ConnectionError(MaxRetryError(None, "/?secret=1", NewConnectionError(None, "refused"))),  # type: ignore[arg-type]
        caused_by(ConnectionResetError("secret")),
        requests.exceptions.ChunkedEncodingError("secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_missing_answer_is_transient_and_reveals_no_url_or_contents(error: requests.RequestException) -> None:
    outcome = outcome_of_error(error, label=LABEL, connect_seconds=3, answer_seconds=10)
    assert outcome.retry_class == "transient"
    assert outcome.error.startswith(LABEL)
    assert "secret" not in outcome.error
    assert "key@" not in outcome.error
