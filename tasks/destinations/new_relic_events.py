"""NewRelicEvents: sends events as custom events to New Relic's Event API.

All have one event type, since an account may have 250 of them a day. A request may have 1 MB, an event 254 attributes
that are text or numbers, and an age of a day. New Relic says 200 to all that it can parse, and tells what it cannot use
in its own NrIntegrationError events only: so what its documentation forbids is mended, or left out, here. Source:
https://docs.newrelic.com/docs/data-apis/custom-data/custom-events/data-requirements-limits-custom-event-data/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from pydantic import BaseModel, Field, SecretStr

from dispatcher.destinations.base import reveal
from dispatcher.event import as_object
from dispatcher.tasks.destinations.http import HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.age import check_age
from dispatcher.tasks.destinations.http.json_array import json_array, json_array_bytes
from dispatcher.tasks.destinations.http.urls import Host
from dispatcher.templates.number import to_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event

MAX_REQUEST_BYTES: Final = 1_000_000
# New Relic names no limit; with so many a request stays below its bytes in most cases, and a bad event is found soon.
MAX_REQUEST_EVENTS: Final = 1000
#: An event's time may be a day off, either way.
MAX_AGE: Final = timedelta(hours=24)
MAX_ATTRIBUTES: Final = 254
MAX_NAME_CHARACTERS: Final = 255
MAX_VALUE_CHARACTERS: Final = 4096

_HOSTS: Final = {
    "us": "https://insights-collector.newrelic.com",
    "eu": "https://insights-collector.eu01.nr-data.net",
}
# What the name of an attribute cannot have.
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9:._]")
# Attributes that say how many others are cut or left out.
_ABOUT_OTHERS: Final = 2

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


class NewRelicEventsOptions(HttpOptions):
    """The settings of a destination at New Relic."""

    account_id: str | None = Field(
        default=None,
        pattern=r"^[0-9]+$",
        coerce_numbers_to_str=True,
        description="The account's id. Without one, events wait.",
    )
    license_key: SecretStr | None = Field(
        default=None, description="A license key of the account, for ingest. Without one, events wait."
    )
    region: Literal["us", "eu"] = Field(default="us", description="Where the account's data is kept.")
    host: Host | None = Field(
        default=None,
        description="Where /v1/accounts is, for a proxy: scheme and host; absent: the collector of the region.",
    )
    event_type: str = Field(
        default="OpenEdxEvent",
        pattern=r"^[A-Za-z][A-Za-z0-9_:]{0,254}$",
        description="What NRQL calls the events in FROM. Their names are the attribute eventName.",
    )
    levels: int = Field(
        default=1,
        ge=1,
        le=5,
        description="How deep objects become attributes of their own; what lies deeper is one attribute of JSON text. "
        "The keys of edX's answers are ids of blocks, and New Relic takes 48,000 names of attributes.",
    )


class NewRelicEvents(HttpDestination[NewRelicEventsOptions, bytes]):
    """Delivers to New Relic's Event API. An item is a custom event, as JSON."""

    Options = NewRelicEventsOptions
    deletion = "never"
    deletion_steps = (
        "Custom events cannot be changed: they go when the account's retention has passed. Send no personal data there."
    )
    limits = Limits(events=MAX_REQUEST_EVENTS, request_bytes=MAX_REQUEST_BYTES)
    takes_gzip = True
    shares_contexts = True

    @classmethod
    def max_age_seconds(cls, options: BaseModel) -> float | None:
        return MAX_AGE.total_seconds()

    @property
    def endpoint(self) -> str:
        host = self.options.host or _HOSTS[self.options.region]
        return f"{host}/v1/accounts/{self.options.account_id or ''}/events"

    def missing_settings(self) -> str | None:
        given = {"account_id": self.options.account_id, "license_key": reveal(self.options.license_key)}
        absent = [self.variable(name) for name, value in given.items() if not value]
        if not absent:
            return None
        return (
            f"New Relic lacks its account or key: set {' and '.join(absent)} to what New Relic shows under API keys; "
            f"the events of {self.name!r} wait until then"
        )

    def item(self, event: Event) -> bytes:
        """The event as one flat object of text and numbers."""
        check_age(event, max_age=MAX_AGE, max_ahead=MAX_AGE)
        custom_event: dict[str, Any] = {
            "eventType": self.options.event_type,
            "timestamp": (event.timestamp - _EPOCH) // _MILLISECOND,
            "eventId": event.id,
            "eventName": event.name,
        }
        cut = left_out = 0
        places = {"data": as_object(event.data), "context": event.context}
        # The two tables are a level of their own.
        for path, value in _flatten("", places, self.options.levels + 1):
            name = _NOT_IN_NAMES.sub("_", path)[:MAX_NAME_CHARACTERS]
            if name in custom_event or len(custom_event) >= MAX_ATTRIBUTES - _ABOUT_OTHERS:
                left_out += 1
                continue
            is_long = isinstance(value, str) and len(value) > MAX_VALUE_CHARACTERS
            custom_event[name] = str(value)[:MAX_VALUE_CHARACTERS] if is_long else value
            cut += is_long
        if cut:
            custom_event["attributesCut"] = cut
        if left_out:
            custom_event["attributesLeftOut"] = left_out
        return msgspec.json.encode(custom_event)

    def body_bytes(self, items: Sequence[bytes], items_bytes: int) -> int:
        return json_array_bytes(len(items), items_bytes)

    def request(self, items: Sequence[bytes]) -> Request:
        return Request(
            url=self.endpoint,
            body=json_array(items),
            headers={"Content-Type": "application/json", "Api-Key": reveal(self.options.license_key)},
        )


def _flatten(prefix: str, table: Mapping[str, Any], levels: int) -> Iterator[tuple[str, str | int | float]]:
    """The values of a table by their paths. What New Relic does not store, null, is absent."""
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and levels > 1:
            yield from _flatten(f"{path}.", value, levels - 1)
        elif value is not None:
            yield path, _attribute(value)


def _attribute(value: object) -> str | int | float:
    """A value as text or a number. True and false are neither, nor is a number that 64 bits do not hold."""
    if isinstance(value, str):
        return value
    number = to_number(value)
    return msgspec.json.encode(value).decode() if number is None else number
