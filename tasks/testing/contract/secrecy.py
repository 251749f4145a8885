"""No text shows a credential, and a preview shows the request that is sent."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from dispatcher.destinations.base import Destination
from dispatcher.tasks.destinations.http import Request
from dispatcher.tasks.destinations.http.masking import mask, request_to_show, secrets_of
from dispatcher.tasks.testing.contract.silence import refusing_url
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, errors_of, leaks
from dispatcher.tasks.testing.vendor import CUT, Reply, Vendor


class SecrecyContract(Subject):
    """Tests of everything that a person, a log or an error tracker gets to see."""

    def test_no_error_and_no_log_has_a_credential_or_personal_data(
        self, destination: Destination[Any], server: Vendor, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        events = [*self.events(2), self.poisoned(self.event(3)) or self.event(3)]
        outcomes = [*destination.deliver(batch_of([*events, b"no event"]))]
        for status in (302, 400, 401, 403, 404, 413, 429, 500):
            server.always = Reply(status=status)
            outcomes += destination.deliver(batch_of(events))
        server.always = CUT
        outcomes += destination.deliver(batch_of(events))
        with refusing_url() as url, self.open_destination(url) as refused:
            outcomes += refused.deliver(batch_of(events))

        for text in (errors_of(outcomes), caplog.text, repr(destination), repr(vars(destination))):
            assert not leaks(text, destination.options)
        for text in (errors_of(outcomes), caplog.text):
            assert [word for word in self.personal if word in text] == []

    def test_a_preview_shows_the_requests_and_sends_nothing(
        self, destination: Destination[Any], server: Vendor
    ) -> None:
        event = self.event(1)

        preview = destination.preview(event)

        assert list(server.calls) == []
        text = json.dumps(preview, ensure_ascii=False)
        assert not leaks(text, destination.options)
        destination.deliver(batch_of([event]))
        if "request" not in preview:
            pytest.skip("it shows no request")
        (call,) = server.calls
        shown = preview["request"]
        headers = {name.title(): value for name, value in call.headers.items()}
        secrets = secrets_of(destination.options)
        sent = request_to_show(Request(url="", body=call.body, headers=headers), secrets)
        assert shown["method"] == call.method
        assert urlsplit(shown["url"]).path == mask(call.path, secrets)
        assert self.steady(shown["body"]) == self.steady(sent["body"])

    def test_a_preview_says_why_an_event_is_not_sent(self, destination: Destination[Any], server: Vendor) -> None:
        bad = self.poisoned(self.event(1))
        if bad is None:
            pytest.skip("it refuses no event for its contents")

        preview = destination.preview(bad)

        assert list(server.calls) == []
        if "outcome" in preview:
            assert preview["outcome"] == "dead"
            assert preview["reason"]
            assert [word for word in self.personal if word in preview["error"]] == []
