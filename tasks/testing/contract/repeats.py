"""Events that are sent again are recognisable: the same events make the same request."""

from __future__ import annotations

from typing import Any

from dispatcher.destinations.base import Destination
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, fates, limits_of
from dispatcher.tasks.testing.vendor import CUT, Reply, Vendor


class RepeatsContract(Subject):
    """Tests of events that are sent more than once."""

    def test_a_retry_sends_the_same_request(self, destination: Destination[Any], server: Vendor) -> None:
        events = self.events(min(3, limits_of(destination).events))
        server.script = [Reply(status=503)]

        assert set(fates(destination.deliver(batch_of(events)))) == {"transient"}
        assert set(fates(destination.deliver(batch_of(events, attempt=1)))) == {"delivered"}

        first, again = server.calls
        assert self.repeatable_parts(again) == self.repeatable_parts(first)

    def test_another_worker_sends_the_same_request(self, server: Vendor) -> None:
        with self.open_destination(server.url) as destination:
            events = self.events(min(3, limits_of(destination).events))
            server.script = [CUT]
            assert set(fates(destination.deliver(batch_of(events)))) == {"transient"}
        with self.open_destination(server.url) as destination:
            again = destination.deliver(batch_of(events, maybe_delivered=True))

        assert set(fates(again)) == {"delivered"}
        assert self.repeatable_parts(server.calls[1]) == self.repeatable_parts(server.calls[0])
