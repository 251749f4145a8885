"""OtlpLogs: sends events as log records by OTLP over HTTP, in JSON.

The protocol says which answers may be tried again: 429, 502, 503 and 504 alone. After any other failure of a server,
and where a part of a request is rejected, it forbids to send anything again. Source:
https://opentelemetry.io/docs/specs/otlp/#otlphttp-response.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import Field, SecretStr, field_validator

from dispatcher.destinations.base import reveal
from dispatcher.outcomes import DELIVERED, INVALID, UNREPEATABLE, Dead, Outcome, RetryAfter
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.more_headers import check_headers
from dispatcher.tasks.destinations.http.status import outcome_of_status
from dispatcher.tasks.destinations.http.urls import BaseUrl
from dispatcher.tasks.destinations.otlp_logs.record import key_values, to_record
from dispatcher.templates.number import to_number
from dispatcher.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

# "Clients SHOULD limit to 64 MiB", and servers as well.
MAX_REQUEST_BYTES: Final = 64 << 20
# The statuses after which the protocol lets a client send again.
_RETRYABLE: Final = frozenset({429, 502, 503, 504})


class OtlpLogsOptions(HttpOptions):
    """The settings of a destination that takes OTLP."""

    url: BaseUrl = Field(
        description="The base URL, to which /v1/logs is added, such as http://otel-collector.example.com:4318."
    )
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="More headers, such as the vendor's key; values are masked where shown."
    )
    service_name: str = Field(
        default="dispatcher", min_length=1, description="The resource attribute service.name of all records."
    )
    resource: dict[str, str] = Field(
        default_factory=dict,
        description='More attributes of the resource, such as "deployment.environment.name" = "production".',
    )
    max_events: int = Field(
        default=500,
        ge=1,
        le=10_000,
        description="Most events in a request. With 1 it is known of each event whether it was rejected.",
    )
    max_bytes: int = Field(
        default=4_000_000, ge=10_000, le=MAX_REQUEST_BYTES, description="Most bytes in a request's body, before gzip."
    )

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return check_headers(headers)


class OtlpLogs(HttpDestination[OtlpLogsOptions, bytes]):
    """Delivers to an OTLP receiver. An item is a log record, as JSON."""

    Options = OtlpLogsOptions
    deletion = "by_hand"
    deletion_steps = "Delete in the back end behind the collector, where it can, or let its retention pass."
    takes_gzip = True
    shows_traceparent = True
    shares_contexts = True

    def __init__(
        self, name: str, options: OtlpLogsOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        self.limits = Limits(events=options.max_events, request_bytes=options.max_bytes)
        resource = key_values({"service.name": options.service_name, **options.resource})
        head, tail = msgspec.json.encode(
            {
                "resourceLogs": [
                    {
                        "resource": {"attributes": resource},
                        "scopeLogs": [{"scope": {"name": "dispatcher", "version": __version__}, "logRecords": []}],
                    }
                ]
            }
        ).rsplit(b"[]", 1)
        self._head, self._tail = head + b"[", b"]" + tail
        super().__init__(name, options, rules=rules, rate=rate)

    @property
    def endpoint(self) -> str:
        return f"{self.options.url}/v1/logs"

    def item(self, event: Event) -> bytes:
        """The log record of an event."""
        return msgspec.json.encode(to_record(event))

    def body_bytes(self, items: Sequence[bytes], items_bytes: int) -> int:
        return len(self._head) + items_bytes + len(items) - 1 + len(self._tail)

    def request(self, items: Sequence[bytes]) -> Request:
        headers = {name: reveal(value) for name, value in self.options.headers.items()}
        body = self._head + b",".join(items) + self._tail
        return Request(url=self.endpoint, body=body, headers={**headers, "Content-Type": "application/json"})

    def outcome(self, answer: Answer, items: Sequence[bytes]) -> Outcome:
        """What an answer means: a server's failure is final unless the protocol says that it may be tried again."""
        retry_after = answer.headers.get("Retry-After")
        outcome = outcome_of_status(answer.status, label=self.label, retry_after=retry_after)
        if outcome is DELIVERED:
            return self._outcome_of_success(answer, len(items))
        is_transient = isinstance(outcome, RetryAfter) and outcome.retry_class == "transient"
        if is_transient and answer.status not in _RETRYABLE:
            assert isinstance(outcome, RetryAfter)
            error = f"{outcome.error}, after which OTLP forbids to send the request again; it may have been taken"
            return Dead(UNREPEATABLE, error, whole=True, retry_class="transient")
        return outcome

    def _outcome_of_success(self, answer: Answer, sent: int) -> Outcome:
        rejected = _rejected(answer.json())
        if rejected == 0:
            return DELIVERED
        error = f"{self.label} rejected {min(rejected, sent)} of the request's {sent} records"
        if rejected >= sent:
            return Dead(INVALID, error, whole=True)
        return Dead(
            UNREPEATABLE,
            f"{error} and does not say which; OTLP forbids to send them again. With max_events = 1 it is known of each",
            whole=True,
        )


def _rejected(body: Any) -> int:
    """How many records an answer of success says to be rejected. 64 bits are text in proto3's JSON."""
    partial = body.get("partialSuccess") if isinstance(body, dict) else None
    count = partial.get("rejectedLogRecords") if isinstance(partial, dict) else None
    number = to_number(count)
    return int(number) if number is not None and number > 0 else 0
