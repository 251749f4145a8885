"""SplunkHec: sends events as they are to Splunk's HTTP Event Collector.

A request has up to 1 MB, which is Splunk Cloud's limit; Splunk Enterprise takes more. Splunk knows no ids: what it gets
twice, it has twice. Source:
https://help.splunk.com/en/splunk-enterprise/get-data-in/collect-http-event-data/format-events-for-http-event-collector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import BaseModel, Field, SecretStr

from dispatcher.destinations.base import reveal
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, NoAnswer, Request
from dispatcher.tasks.destinations.http.urls import BaseUrl
from dispatcher.tasks.destinations.splunk_hec.acknowledgement import Acknowledgement
from dispatcher.tasks.destinations.splunk_hec.codes import outcome_of_answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event
    from dispatcher.outcomes import Outcome
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

# Of an event, by limits.conf of Splunk Enterprise.
MAX_EVENT_BYTES: Final = 5_000_000
# Of a request: what Splunk Cloud takes, and the most that Splunk Enterprise does unless its limits.conf says otherwise.
CLOUD_REQUEST_BYTES: Final = 1_000_000
MAX_REQUEST_BYTES: Final = 800 << 20


class SplunkHecOptions(HttpOptions):
    """The settings of a destination at Splunk's HTTP Event Collector."""

    url: BaseUrl = Field(
        description="Where /services/collector is: scheme, host and port, such as https://splunk.example.com:8088."
    )
    token: SecretStr | None = Field(default=None, description="The collector's token. Without one, events wait.")
    index: str | None = Field(
        default=None, min_length=1, description="The index; absent: the one that the token stands for."
    )
    source: str = Field(default="dispatcher", min_length=1, description="The events' source in Splunk.")
    sourcetype: str = Field(default="dispatcher:event", min_length=1, description="Their source type.")
    host: str | None = Field(
        default=None, min_length=1, description="Their host; absent: that of the web request, where the event has one."
    )
    indexed_fields: bool = Field(
        default=True, description="Index event_id and event_name, by which `tstats` finds events fast."
    )
    max_events: int = Field(default=1000, ge=1, le=10_000, description="Most events in a request.")
    max_bytes: int = Field(
        default=CLOUD_REQUEST_BYTES,
        ge=10_000,
        le=MAX_REQUEST_BYTES,
        description="Most bytes in a request's body, before gzip: Splunk Cloud takes 1 MB, Splunk Enterprise 800 MiB.",
    )
    acknowledge: bool = Field(
        default=False,
        description="Count events as delivered once Splunk says that they are indexed, for a token that does so.",
    )
    acknowledge_timeout_seconds: float = Field(
        default=30, gt=0, allow_inf_nan=False, description="How long that is waited for; then they are sent again."
    )


class SplunkHec(HttpDestination[SplunkHecOptions, bytes]):
    """Delivers to Splunk's HTTP Event Collector. An item is an event of Splunk's, as JSON."""

    Options = SplunkHecOptions
    deletion = "hidden"
    deletion_steps = (
        "A search with `| delete` hides events; they are gone when their index's "
        "frozenTimePeriodInSecs has passed. Send no personal data there."
    )
    takes_gzip = True
    shares_contexts = True

    def __init__(
        self, name: str, options: SplunkHecOptions, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        self.limits = Limits(
            events=options.max_events,
            request_bytes=options.max_bytes,
            event_bytes=min(MAX_EVENT_BYTES, options.max_bytes),
        )
        super().__init__(name, options, rules=rules, rate=rate)
        self._acknowledgement = (
            Acknowledgement(
                url=f"{options.url}/services/collector/ack",
                headers=self._headers,
                label=self.label,
                max_wait_seconds=options.acknowledge_timeout_seconds,
                send=self.send_built,
            )
            if options.acknowledge
            else None
        )

    @classmethod
    def longest_seconds(cls, options: BaseModel) -> float:
        """As long as a request, and with acknowledgements as two more: one asks before the first, one at the end."""
        assert isinstance(options, SplunkHecOptions)
        request = options.connect_timeout_seconds + options.timeout_seconds
        return request + (request + options.acknowledge_timeout_seconds if options.acknowledge else 0)

    @property
    def endpoint(self) -> str:
        return f"{self.options.url}/services/collector/event"

    def missing_settings(self) -> str | None:
        if reveal(self.options.token):
            return None
        return (
            f"Splunk has no token: set {self.variable('token')} to one that Splunk shows under Settings, Data inputs, "
            f"HTTP Event Collector; the events of {self.name!r} wait until then"
        )

    def item(self, event: Event) -> bytes:
        """The event in Splunk's envelope: its time, host, source and source type; the event itself is as it is."""
        envelope: dict[str, Any] = {
            "time": round(event.timestamp.timestamp(), 6),
            "source": self.options.source,
            "sourcetype": self.options.sourcetype,
        }
        host = self.options.host or event.context.get("host")
        if isinstance(host, str) and host:
            envelope["host"] = host
        if self.options.index is not None:
            envelope["index"] = self.options.index
        envelope["event"] = {"id": event.id, "name": event.name, "data": event.data, "context": event.context}
        if self.options.indexed_fields:
            # They are flat, and no text of them is empty.
            envelope["fields"] = {"event_id": event.id, "event_name": event.name}
        return msgspec.json.encode(envelope)

    def body_bytes(self, items: Sequence[bytes], items_bytes: int) -> int:
        return items_bytes + len(items) - 1

    def request(self, items: Sequence[bytes]) -> Request:
        # Splunk does not look at the type; what stands between may, and this is not one value of JSON.
        headers = {**self._headers(), "Content-Type": "application/x-ndjson"}
        if self._acknowledgement is not None:
            headers["X-Splunk-Request-Channel"] = self._acknowledgement.channel
        # One object after another, without commas between them.
        return Request(url=self.endpoint, body=b"\n".join(items), headers=headers)

    def send(self, items: Sequence[bytes], *, attempt: int) -> Answer | NoAnswer:
        if self._acknowledgement is None:
            return super().send(items, attempt=attempt)
        if (refusal := self._acknowledgement.refusal()) is not None:
            return refusal
        answer = super().send(items, attempt=attempt)
        if isinstance(answer, NoAnswer) or answer.status >= 300:
            return answer
        return self._acknowledgement.wait(answer)

    def outcome(self, answer: Answer, items: Sequence[bytes]) -> Outcome:
        return outcome_of_answer(answer, label=self.label)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Splunk {reveal(self.options.token)}"}
