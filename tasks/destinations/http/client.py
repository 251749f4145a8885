"""HttpClient: sends requests and reads their answers, over connections that are kept, each within one deadline."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from dispatcher.connections.deadline import Deadline
from dispatcher.connections.endpoint import Endpoint
from dispatcher.errors import SetupError
from dispatcher.monitoring.otel.tracing import delivery_span
from dispatcher.outcomes import RetryAfter
from dispatcher.tasks.destinations.http.answer import MAX_BODY_BYTES, Answer, read_answer
from dispatcher.tasks.destinations.http.request_span import send_traced
from dispatcher.tasks.destinations.http.status import outcome_of_no_answer, outcome_of_no_connection

if TYPE_CHECKING:
    from dispatcher.connections.channel import Channel
    from dispatcher.tasks.destinations.http.request import Request

# Seconds after which an unused connection is not used any more: load balancers, and translators of addresses, forget
# them after a minute or more, and not all of them say so.
_MAX_IDLE_SECONDS: Final = 50.0
# Seconds in which an answer is looked for that the vendor gave before it had the whole request.
_EARLY_ANSWER_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request that got no answer.

    Args:
        outcome: What that means for its events.
        maybe_taken: Whether the vendor may have received the request nevertheless.
    """

    outcome: RetryAfter
    maybe_taken: bool


class HttpClient:
    """Sends requests over kept-alive connections. Safe in threads; make it in the process that uses it.

    It follows no redirect, and adds no credentials of ~/.netrc. Proxies and certificates to trust are those that the
    environment names.

    Args:
        label: What errors call the destination, such as ``Sailthru at api.sailthru.com``.
        connect_seconds: How long connecting may take: name service, proxy and TLS included.
        answer_seconds: How long the rest may take: to send the request, and to receive the answer.
        connections: How many connections are kept open; further ones are closed after their request.
        tells_trace: Whether requests of a traced delivery carry the header ``traceparent``.
        max_body_bytes: How much of an answer's body is read.
    """

    def __init__(
        self,
        *,
        label: str,
        connect_seconds: float,
        answer_seconds: float,
        connections: int,
        tells_trace: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._label = label
        self._max_body_bytes = max_body_bytes
        self._tells_trace = tells_trace
        self._connect_seconds = connect_seconds
        self._answer_seconds = answer_seconds
        self._connections = connections
        #: Connections that wait for a request, the one that was used last at the right, and since when.
        self._idle: deque[tuple[Endpoint, Channel, float]] = deque()
        #: The endpoint of each scheme and host that a request went to.
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._lock = threading.Lock()
        # For those who do not close it.
        weakref.finalize(self, _close, self._idle)

    def send(self, request: Request, *, reads_body: bool = True) -> Answer | NoAnswer:
        """Send one request. Raises nothing for what a network, a server or a setting may do.

        Blocks up to the sum of both time limits.

        Args:
            request: The request.
            reads_body: Whether the body of the answer matters. Where only the status does, it is the answer as soon as
                it is there.
        """
        above = delivery_span.get()
        if above is None:
            return self._send(request, reads_body)
        send = partial(self._send, reads_body=reads_body)
        return send_traced(send, request, above, tells_trace=self._tells_trace)

    def _send(self, request: Request, reads_body: bool) -> Answer | NoAnswer:
        try:
            url = urlsplit(request.url)
            endpoint = self._endpoints.get((url.scheme, url.netloc)) or Endpoint.of(url)
            self._endpoints[url.scheme, url.netloc] = endpoint
            data = request.to_bytes(endpoint)
            channel = self._take(endpoint) or endpoint.connect(Deadline(self._connect_seconds))
        except (SetupError, OSError, ValueError) as error:
            outcome = outcome_of_no_connection(error, label=self._label, seconds=self._connect_seconds)
            return NoAnswer(outcome, maybe_taken=False)
        channel.sent_bytes = 0
        reusable = False
        try:
            answer, reusable = self._exchange(channel, data, reads_body=reads_body)
        except OSError as error:
            outcome = outcome_of_no_answer(error, label=self._label, seconds=self._answer_seconds)
            return NoAnswer(outcome, maybe_taken=channel.sent_bytes > 0)
        finally:
            if reusable:
                self._keep(endpoint, channel)
            else:
                channel.close()
        return answer

    def _exchange(self, channel: Channel, data: bytes, *, reads_body: bool) -> tuple[Answer, bool]:
        deadline = Deadline(self._answer_seconds)
        try:
            channel.send(data, deadline)
        except OSError as error:
            # A vendor that refuses a request may answer, and hang up, before it has all of it.
            try:
                answer, _ = read_answer(channel, Deadline(_EARLY_ANSWER_SECONDS), reads_body=reads_body)
            except OSError:
                raise error from None
            return answer, False
        return read_answer(channel, deadline, reads_body=reads_body, max_body_bytes=self._max_body_bytes)

    def _take(self, endpoint: Endpoint) -> Channel | None:
        """A connection that waits for a request to the endpoint; None if there is none."""
        oldest = time.monotonic() - _MAX_IDLE_SECONDS
        while True:
            with self._lock:
                place = next((n for n in reversed(range(len(self._idle))) if self._idle[n][0] == endpoint), None)
                if place is None:
                    return None
                _, channel, since = self._idle[place]
                del self._idle[place]
            if since > oldest and channel.is_quiet:
                return channel
            channel.close()

    def _keep(self, endpoint: Endpoint, channel: Channel) -> None:
        now = time.monotonic()
        surplus: list[Channel] = []
        with self._lock:
            self._idle.append((endpoint, channel, now))
            # The one that was used longest ago is at the left.
            while len(self._idle) > self._connections or self._idle[0][2] < now - _MAX_IDLE_SECONDS:
                surplus.append(self._idle.popleft()[1])
        for idle in surplus:
            idle.close()

    def close(self) -> None:
        """Close the connections. May be called twice; a later request opens new ones."""
        _close(self._idle)


def _close(idle: deque[tuple[Endpoint, Channel, float]]) -> None:
    while True:
        try:
            idle.pop()[1].close()
        except IndexError:
            return
