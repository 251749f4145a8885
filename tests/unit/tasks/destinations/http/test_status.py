"""HTTP answers and missing answers as outcomes, and the forms of Retry-After."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from socket import gaierror

import pytest

from dispatcher.connections.channel import ProtocolError
from dispatcher.connections.proxy import TunnelError
from dispatcher.errors import SetupError
from dispatcher.outcomes import DELIVERED, Dead, RetryAfter
from dispatcher.tasks.destinations.http.status import (
    outcome_of_no_answer,
    outcome_of_no_connection,
    outcome_of_status,
    retry_after_seconds,
)

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


def test_an_error_says_that_a_redirect_is_not_followed() -> None:
    outcome = outcome_of_status(308, label=LABEL)
    assert isinstance(outcome, RetryAfter)
    assert outcome.error.startswith(f"{LABEL} answered 308 Permanent Redirect, and redirects are not followed")


def untrusted() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError("no")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    "error",
    [
        gaierror(-2, "unknown"),
        untrusted(),
        SetupError("HTTPS_PROXY has the scheme 'ftp'"),
        TunnelError(407),
        TunnelError(403),
        ValueError("Invalid IPv6 URL of https://key@host/?secret=1"),
        UnicodeEncodeError("utf-8", "secret\ud800", 6, 7, "surrogates not allowed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_wrong_on_our_side_is_a_setup_error(error: Exception) -> None:
    outcome = outcome_of_no_connection(error, label=LABEL, seconds=3)
    assert outcome.retry_class == "setup", outcome
    assert outcome.error.startswith(LABEL)
    assert "secret" not in outcome.error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TimeoutError("to https://key@host/?secret=1"), "within 3 s"),
        (ConnectionRefusedError(111, "secret"), "connection refused"),
        (ConnectionResetError(104, "secret"), "connection reset by peer"),
        (ssl.SSLError(1, "secret"), "no TLS"),
        (TunnelError(502), "the proxy answered 502"),
        (ProtocolError("hung up without an answer"), "hung up without an answer"),
        (OSError("secret"), "OSError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_a_missing_answer_is_transient_and_reveals_no_url_or_contents(error: OSError, words: str) -> None:
    for outcome in (
        outcome_of_no_connection(error, label=LABEL, seconds=3),
        outcome_of_no_answer(error, label=LABEL, seconds=3),
    ):
        assert outcome.retry_class == "transient"
        assert outcome.error.startswith(LABEL)
        assert words in outcome.error
        assert "secret" not in outcome.error
        assert "key@" not in outcome.error
