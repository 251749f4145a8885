"""A vendor that gives no answer leaves its events waiting, with an error that says what is wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from dispatcher.destinations.base import Destination
from dispatcher.outcomes import MAYBE_DELIVERED
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, errors_of, fates
from dispatcher.tasks.testing.vendor import CUT, SILENT, Vendor

# A name that no host will ever have (RFC 6761 §6.4).
_UNKNOWN_HOST: Final = "http://dispatcher-contract.invalid"


class SilenceContract(Subject):
    """Tests of requests that get no answer."""

    def test_a_silent_vendor_is_given_up_in_time(self, server: Vendor) -> None:
        server.always = SILENT
        with self.open_destination(server.url, timeout_seconds=0.3) as destination:
            at_a_time = getattr(destination, "concurrency", 1)
            outcomes = destination.deliver(batch_of(self.events(3 * at_a_time)))

        assert set(fates(outcomes)) == {"transient"}
        assert "0.3 s" in errors_of(outcomes), "says how long it waited"
        assert len(server.calls) <= at_a_time, "the rest waits without being tried"

    def test_a_cut_connection_leaves_its_events_waiting(self, destination: Destination[Any], server: Vendor) -> None:
        server.always = CUT

        assert fates(destination.deliver(batch_of(self.events(2)))) == ["transient", "transient"]

    def test_a_refused_connection_leaves_its_events_waiting(self) -> None:
        with refusing_url() as url, self.open_destination(url) as destination:
            assert fates(destination.deliver(batch_of(self.events(2)))) == ["transient", "transient"]

    def test_an_unknown_host_is_a_setup_error(self) -> None:
        with self.open_destination(_UNKNOWN_HOST) as destination:
            outcomes = destination.deliver(batch_of(self.events(2)))

        assert fates(outcomes) == ["setup", "setup"]
        assert "dispatcher-contract.invalid" in errors_of(outcomes)

    def test_a_server_without_tls_leaves_its_events_waiting(self, server: Vendor) -> None:
        with self.open_destination(server.url.replace("http://", "https://")) as destination:
            outcomes = destination.deliver(batch_of(self.events(2)))

        assert set(fates(outcomes)) <= {"transient", "setup"}
        assert list(server.calls) == []

    def test_at_most_once_never_resends_events_that_may_have_arrived(self, server: Vendor) -> None:
        if "at_most_once" not in self.destination_class().Options.model_fields:
            pytest.skip("it has no such option")
        with self.open_destination(server.url, at_most_once=True) as destination:
            server.script = [CUT]
            assert fates(destination.deliver(batch_of(self.events(1)))) == ["unanswered"]

            again = destination.deliver(batch_of(self.events(1), maybe_delivered=True))
            assert fates(again) == [MAYBE_DELIVERED]
            assert len(server.calls) == 1
        with refusing_url() as url, self.open_destination(url, at_most_once=True) as destination:
            assert fates(destination.deliver(batch_of(self.events(1)))) == ["transient"], "it cannot have arrived"


@contextmanager
def refusing_url() -> Iterator[str]:
    """A URL at which nothing listens or can begin to listen."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
