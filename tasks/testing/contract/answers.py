"""A vendor's answer becomes one of the outcomes, the same for every destination unless its vendor differs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

import pytest

from dispatcher.destinations.base import Destination
from dispatcher.outcomes import RetryAfter
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, errors_of, fates, leaks
from dispatcher.tasks.testing.vendor import Reply, Vendor

#: What becomes of the events of a request that is answered with a status.
OUTCOMES: Final[Mapping[int, str]] = {
    200: "delivered",
    204: "delivered",
    400: "invalid",
    401: "setup",
    403: "setup",
    404: "setup",
    408: "transient",
    413: "oversized",
    422: "invalid",
    429: "throttled",
    500: "transient",
    502: "transient",
    503: "transient",
    504: "transient",
}


class AnswersContract(Subject):
    """Tests of each answer."""

    @pytest.mark.parametrize("status", OUTCOMES)
    def test_a_status_has_its_outcome(self, status: int, destination: Destination[Any], server: Vendor) -> None:
        # A vendor has a body of its own with 200, which its stand-in answers.
        if status != 200:
            server.always = Reply(status=status)

        outcomes = destination.deliver(batch_of(self.events(2)))

        assert fates(outcomes) == [{**OUTCOMES, **self.answers}[status]] * 2, errors_of(outcomes)
        if errors_of(outcomes):
            assert "127.0.0.1" in errors_of(outcomes), "the error says who answered"

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirects_are_not_followed(self, status: int, destination: Destination[Any], server: Vendor) -> None:
        with Vendor() as elsewhere:
            elsewhere.always = Reply()
            server.always = Reply(status=status, headers={"Location": f"{elsewhere.url}/elsewhere"})
            outcomes = destination.deliver(batch_of(self.events(2)))

        assert fates(outcomes) == ["setup", "setup"], errors_of(outcomes)
        assert [call for call in elsewhere.calls if call.body] == []

    def test_a_retry_after_in_seconds_is_kept(self, destination: Destination[Any], server: Vendor) -> None:
        server.always = Reply(status=429, headers={"Retry-After": "7"})

        outcomes = destination.deliver(batch_of(self.events(2)))

        assert fates(outcomes) == ["throttled", "throttled"]
        assert [getattr(outcome, "seconds", None) for outcome in outcomes] == [7.0, 7.0]

    def test_a_retry_after_as_a_date_is_kept(self, destination: Destination[Any], server: Vendor) -> None:
        until = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        server.always = Reply(status=429, headers={"Retry-After": until})

        (outcome,) = destination.deliver(batch_of(self.events(1)))

        assert isinstance(outcome, RetryAfter)
        assert outcome.seconds is not None
        assert 0 < outcome.seconds <= 3600

    def test_throttling_stops_further_requests(self, destination: Destination[Any], server: Vendor) -> None:
        server.always = Reply(status=429)
        at_a_time = getattr(destination, "concurrency", 1)

        outcomes = destination.deliver(batch_of(self.events(3 * at_a_time)))

        assert set(fates(outcomes)) == {"throttled"}
        assert len(server.calls) <= at_a_time

    def test_an_answer_that_repeats_the_request_is_repeated_nowhere(
        self, destination: Destination[Any], server: Vendor, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        delivered = destination.deliver(batch_of([self.event(1)]))
        sent = server.calls[-1].content
        for status in (400, 401, 500):
            server.always = Reply(status=status, body=sent, headers={"Content-Type": "application/json"})
            outcomes = destination.deliver(batch_of([self.event(1)]))
            for text in (errors_of([*delivered, *outcomes]), caplog.text):
                assert not leaks(text, destination.options)
                assert [word for word in self.personal if word in text] == []
