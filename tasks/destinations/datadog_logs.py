"""DatadogLogs: sends events as logs to Datadog's intake.

A request may have 5 MB and 1000 logs, a log 1 MB: Datadog cuts a larger one and says nothing, so it is not sent. What
is older than 18 hours is left out. Source: https://docs.datadoghq.com/api/latest/logs/#send-logs.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import BaseModel, Field, SecretStr

from dispatcher.destinations.base import reveal
from dispatcher.tasks.destinations.http import HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.age import check_age
from dispatcher.tasks.destinations.http.json_array import json_array, json_array_bytes
from dispatcher.tasks.destinations.http.urls import Host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event

MAX_REQUEST_EVENTS: Final = 1000
MAX_REQUEST_BYTES: Final = 5_000_000
MAX_EVENT_BYTES: Final = 1_000_000
MAX_AGE: Final = timedelta(hours=18)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class DatadogLogsOptions(HttpOptions):
    """The settings of a destination at Datadog."""

    api_key: SecretStr | None = Field(
        default=None, description="An API key of the organisation. Without one, events wait."
    )
    site: str = Field(
        default="datadoghq.com",
        pattern=r"^[a-z0-9.-]+\.[a-z]+$",
        description="The organisation's site, such as datadoghq.eu or us5.datadoghq.com.",
    )
    host: Host | None = Field(
        default=None, description="Where /api/v2/logs is, for a proxy: scheme and host; absent: the intake of the site."
    )
    service: str = Field(default="dispatcher", min_length=1, description="The logs' service.")
    source: str = Field(default="dispatcher", min_length=1, description="Their source, ddsource.")
    tags: dict[str, str] = Field(default_factory=dict, description='Their tags, such as env = "production".')


class DatadogLogs(HttpDestination[DatadogLogsOptions, bytes]):
    """Delivers to Datadog's intake of logs. An item is a log, as JSON."""

    Options = DatadogLogsOptions
    deletion = "hidden"
    deletion_steps = (
        "Logs are gone when their index's retention has passed, archives when their bucket deletes "
        "them. Send no personal data there."
    )
    limits = Limits(events=MAX_REQUEST_EVENTS, request_bytes=MAX_REQUEST_BYTES, event_bytes=MAX_EVENT_BYTES)
    takes_gzip = True
    shares_contexts = True

    @classmethod
    def max_age_seconds(cls, options: BaseModel) -> float | None:
        return MAX_AGE.total_seconds()

    @property
    def endpoint(self) -> str:
        return f"{self.options.host or f'https://http-intake.logs.{self.options.site}'}/api/v2/logs"

    def missing_settings(self) -> str | None:
        if reveal(self.options.api_key):
            return None
        return (
            f"Datadog has no API key: set {self.variable('api_key')} to one that Datadog shows under Organization "
            f"Settings, API Keys; the events of {self.name!r} wait until then"
        )

    def item(self, event: Event) -> bytes:
        """The event as a log: its name is the message, the rest of it are attributes under ``event``."""
        check_age(event, max_age=MAX_AGE)
        log: dict[str, Any] = {
            "message": event.name,
            "ddsource": self.options.source,
            "service": self.options.service,
            "timestamp": (event.timestamp - _EPOCH) // _MILLISECOND,
            "event": {"id": event.id, "name": event.name, "data": event.data, "context": event.context},
        }
        if self.options.tags:
            log["ddtags"] = ",".join(f"{name}:{value}" for name, value in self.options.tags.items())
        host = event.context.get("host")
        if isinstance(host, str) and host:
            log["hostname"] = host
        return msgspec.json.encode(log)

    def body_bytes(self, items: Sequence[bytes], items_bytes: int) -> int:
        return json_array_bytes(len(items), items_bytes)

    def request(self, items: Sequence[bytes]) -> Request:
        return Request(
            url=self.endpoint,
            body=json_array(items),
            headers={"Content-Type": "application/json", "DD-API-KEY": reveal(self.options.api_key)},
        )
