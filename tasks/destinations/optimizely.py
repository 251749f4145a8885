"""Optimizely: sends events as conversions through its Event API, as the vendor's own SDKs do.

A request may have 3.5 MB. The answer says that Optimizely has the events, not that it can use them: events that it
would leave out without a word are refused here. Source:
https://docs.developers.optimizely.com/optimizely-data/docs/event-api-bundle-events-and-visitors.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from pydantic import Field

from dispatcher.errors import UndeliverableError
from dispatcher.event import as_object
from dispatcher.outcomes import INVALID, MISSING_VISITOR_ID, UNKNOWN_EVENT
from dispatcher.tasks.destinations.http import HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.urls import Host
from dispatcher.tasks.destinations.person import Person
from dispatcher.templates.number import to_number
from dispatcher.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.event import Event

# The limit of the Event API.
MAX_REQUEST_BYTES: Final = 3_500_000
# Optimizely names no limit. With so many, a bad event is found by some twenty more requests.
MAX_REQUEST_EVENTS: Final = 1000

# Attributes of Optimizely's own, whose ids are their names.
_USER_AGENT: Final = "$opt_user_agent"
_BOT_FILTERING: Final = "$opt_bot_filtering"

# Attributes are numbers of JavaScript. Revenue is an int64, as which to_number reads it.
_MAX_ATTRIBUTE: Final = 2**53

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

# Ids are digits, which TOML and variables may hold as numbers.
Id = Annotated[str, Field(min_length=1, coerce_numbers_to_str=True)]


class OptimizelyOptions(HttpOptions):
    """The settings of an Optimizely destination."""

    account_id: Id | None = Field(default=None, description="The account's id. Without one, events wait.")
    project_id: Id | None = Field(default=None, description="The project's id, which only Recommendations need.")
    host: Host = Field(
        default="https://logx.optimizely.com",
        description="Where /v1/events is: scheme and host; https://eu.logx.optimizely.com for data kept in the EU.",
    )
    event_ids: dict[str, Id] = Field(
        default_factory=dict,
        description="The id at Optimizely of each event, by its key there, which is its name here or that which the "
        "mapping gives it. Without any, events wait.",
    )
    attribute_ids: dict[str, Id] = Field(
        default_factory=dict,
        description="The id at Optimizely of each attribute, by its key there. Its value is that of the same key in "
        "the data, else in the context.",
    )
    visitor: Literal["user_id", "anonymous_id", "either"] = Field(
        default="either",
        description='What visitors are known by at Optimizely; "either" is the user id, else the anonymous id.',
    )
    bot_filtering: bool | None = Field(
        default=None,
        description="The project's setting of that name; absent: neither it nor the browser's user agent is sent.",
    )
    anonymize_ip: bool = Field(default=True, description="Optimizely is to cut the address that requests come from.")
    strict: bool = Field(
        default=True, description="Ask Optimizely to refuse what it cannot use; otherwise it takes and forgets that."
    )


# The sender, for people who look for faults at Optimizely.
CLIENT: Final = {"client_name": "dispatcher", "client_version": __version__}


class Optimizely(HttpDestination[OptimizelyOptions, dict[str, Any]]):
    """Delivers to Optimizely's Event API, many visitors in a request. An item is a visitor with one event."""

    Options = OptimizelyOptions
    deletion = "on_request"
    deletion_steps = "Send Optimizely a data subject request with the visitor's id."
    limits = Limits(events=MAX_REQUEST_EVENTS, request_bytes=MAX_REQUEST_BYTES)
    integration = "Optimizely Full Stack"

    @property
    def endpoint(self) -> str:
        return f"{self.options.host}/v1/events"

    def missing_settings(self) -> str | None:
        until = f"the events of {self.name!r} wait until then"
        if self.options.account_id is None:
            return f"Optimizely has no account: set {self.variable('account_id')} to its account id; {until}"
        if not self.options.event_ids:
            return (
                f"Optimizely knows events by their ids: set event_ids in [destinations.{self.name}] to those of the "
                f"project; {until}"
            )
        return None

    def item(self, event: Event) -> dict[str, Any]:
        """The event's visitor in the form of the Event API, with this event."""
        data = as_object(event.data)
        tags = {key: value for key, value in data.items() if key not in self.options.attribute_ids}
        return {
            "visitor_id": self._visitor_id(event),
            "attributes": self._attributes(event, data),
            "snapshots": [{"events": [self._conversion(event, tags)]}],
        }

    def request(self, items: Sequence[dict[str, Any]]) -> Request:
        batch: dict[str, Any] = {"account_id": self.options.account_id or ""}
        if self.options.project_id is not None:
            batch["project_id"] = self.options.project_id
        batch |= {
            **CLIENT,
            "anonymize_ip": self.options.anonymize_ip,
            # Optimizely finds experiments and variations by what the visitor was shown before.
            "enrich_decisions": True,
            "visitors": _merge(items),
        }
        headers = {"Content-Type": "application/json"}
        if self.options.strict:
            headers["X-Optimizely-Strict"] = "true"
        return Request(url=self.endpoint, body=msgspec.json.encode(batch), headers=headers)

    def _visitor_id(self, event: Event) -> str:
        person = Person.of(event)
        known = {
            "user_id": person.user_id,
            "anonymous_id": person.anonymous_id,
            "either": person.user_id if person.user_id is not None else person.anonymous_id,
        }
        if (visitor_id := known[self.options.visitor]) is not None:
            return visitor_id
        lacking = (
            "neither user id nor anonymous id" if self.options.visitor == "either" else f"no {self.options.visitor}"
        )
        raise UndeliverableError(
            MISSING_VISITOR_ID,
            f"event {event.id} has {lacking}: add it to its context, or set {self.variable('visitor')} to what it has",
        )

    def _attributes(self, event: Event, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        attributes = [
            (id_, key, data[key] if key in data else event.context.get(key))
            for key, id_ in self.options.attribute_ids.items()
        ]
        if self.options.bot_filtering is not None:
            attributes.append((_USER_AGENT, _USER_AGENT, Person.of(event).user_agent))
            attributes.append((_BOT_FILTERING, _BOT_FILTERING, self.options.bot_filtering))
        return [
            {"entity_id": id_, "key": key, "type": "custom", "value": value}
            for id_, key, value in attributes
            if _is_attribute(value)
        ]

    def _conversion(self, event: Event, tags: Mapping[str, Any]) -> dict[str, Any]:
        if (entity_id := self.options.event_ids.get(event.name)) is None:
            raise UndeliverableError(
                UNKNOWN_EVENT,
                f"event {event.id} is called {event.name!r}, which has no id in event_ids of "
                f"[destinations.{self.name}]: add it, or take the event off the allowlist",
            )
        conversion: dict[str, Any] = {
            "entity_id": entity_id,
            "key": event.name,
            "timestamp": (event.timestamp - _EPOCH) // _MILLISECOND,
            "uuid": event.id,
        }
        if tags.get("revenue") is not None:
            conversion["revenue"] = _cents(event, tags["revenue"])
        if (number := to_number(tags.get("value"))) is not None:
            # A number also as text, as the SDKs read it.
            conversion["value"] = float(number)
        # Tags do not nest, so that objects and lists become text.
        flat = {
            key: value if isinstance(value, str | int | float) else msgspec.json.encode(value).decode()
            for key, value in tags.items()
            if value is not None
        }
        if flat:
            conversion["tags"] = flat
        return conversion


def _merge(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One visitor for each id and set of attributes, with all of the events in one snapshot."""
    visitors: dict[tuple[str, bytes], dict[str, Any]] = {}
    for item in items:
        (snapshot,) = item["snapshots"]
        key = (item["visitor_id"], msgspec.json.encode(item["attributes"]))
        visitor = visitors.setdefault(key, item | {"snapshots": [{"events": []}]})
        visitor["snapshots"][0]["events"] += snapshot["events"]
    return list(visitors.values())


def _cents(event: Event, revenue: object) -> int:
    # 49.00 is an amount of another unit than cents, although the number is whole.
    if isinstance(cents := to_number(revenue), int):
        return cents
    # Without the revenue Optimizely would count the conversion and not the money.
    raise UndeliverableError(
        INVALID,
        f"event {event.id} has a revenue that is not a whole number of cents: correct, rename or drop that field",
    )


def _is_attribute(value: object) -> bool:
    return isinstance(value, str | bool) or (isinstance(value, int | float) and abs(value) <= _MAX_ATTRIBUTE)
