"""dispatcher.tasks.delivery.request: what is reported of a delivery that will be retried."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from celery.exceptions import Retry

from dispatcher.tasks.delivery.request import retry_fields, safe_text

DUE = datetime(2026, 1, 31, 12, 30, 5, 999_999, tzinfo=UTC)


def test_a_retry_is_reported_with_its_error_and_due_time():
    assert retry_fields(Retry("Segment answered 503", when=DUE)) == {
        "exception": "Segment answered 503",
        "eta": "2026-01-31 12:30:05Z",
    }


def test_the_due_time_is_in_utc_in_every_time_zone():
    elsewhere = DUE.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert retry_fields(Retry("no", when=elsewhere))["eta"] == "2026-01-31 12:30:05Z"


def test_a_retry_in_a_child_process_is_reported_like_one_in_a_thread():
    retry = Retry("Segment answered 503", when=DUE)
    assert retry_fields(pickle.loads(pickle.dumps(retry))) == retry_fields(retry)  # noqa: S301 - our own


def test_a_retry_without_an_error_text_gets_one():
    assert retry_fields(Retry()) == {"exception": "parked", "eta": None}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Segment answered 503", "Segment answered 503"),
        ("answered 500 <script>alert(1)</script>", "answered 500 (script)alert(1)(/script)"),
        ("a &lt; b", "a +lt; b"),
        ("two\nlines,\r\n\ttabs", "two lines, tabs"),
        ("x" * 1_000 + " because of y", "x" * 150 + "…" + "x" * 136 + " because of y"),
    ],
)
def test_an_error_is_one_short_line_that_is_safe_in_html(error: str, told: str):
    assert safe_text(error) == told
