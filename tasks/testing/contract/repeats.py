"""Events that are sent again are recognisable: the same events make the same request."""

from __future__ import annotations

from typing import Any

from dispatcher.destinations.base import Destination
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, fates, limits_of
from dispatcher.tasks.testing.vendor import CUT, Reply, Vendor


class RepeatsContract(Subject):
    """What holds where events are sent more than once."""

    def test_a_retry_sends_the_same_request(self, destination: Destination[Any], server: Vendor) -> None:
        events = self.events(min(3, limits_of(destination).events))
        server.script = [Reply(status=503)]

        assert set(fates(destination.deliver(batch_of(events)))) == {"transient"}
        assert set(fates(destination.deliver(batch_of(events, attempt=1)))) == {"delivered"}

        first, again = server.calls
        assert self.said_again(again) == self.said_again(first)

    def test_another_worker_sends_the_same_request(self, server: Vendor) -> None:
        with self.built(server.url) as destination:
            events = self.events(min(3, limits_of(destination).events))
            server.script = [CUT]
            assert set(fates(destination.deliver(batch_of(events)))) == {"transient"}
        with self.built(server.url) as destination:
            again = destination.deliver(batch_of(events, maybe_delivered=True))

        assert set(fates(again)) == {"delivered"}
        assert self.said_again(server.calls[1]) == self.said_again(server.calls[0])
