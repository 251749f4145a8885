"""MetaConversions: sends events as server events of Meta's Conversions API.

A request has up to 1000 events, which are at most seven days old. event_id is the event's own id, by which Meta
recognises what it has already from the browser's pixel or from here. Source:
https://developers.facebook.com/documentation/ads-commerce/conversions-api/using-the-api.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec
from pydantic import BaseModel, Field, SecretStr

from dispatcher.destinations.base import reveal
from dispatcher.destinations.identifiers import to_web_url
from dispatcher.destinations.traits import META_CONVERSIONS
from dispatcher.errors import UndeliverableError
from dispatcher.event import data_fields
from dispatcher.outcomes import FROM_THE_FUTURE, INVALID, TOO_OLD
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.urls import Host
from dispatcher.tasks.destinations.meta_conversions.answers import outcome_of_answer
from dispatcher.tasks.destinations.meta_conversions.custom_data import custom_data
from dispatcher.tasks.destinations.meta_conversions.user_data import user_data
from dispatcher.tasks.destinations.person import Person

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event
    from dispatcher.outcomes import Outcome

# https://developers.facebook.com/documentation/ads-commerce/conversions-api/using-the-api#batch-requests
MAX_REQUEST_EVENTS: Final = 1000
# Meta documents no limit; others have met one of about 1 MB.
MAX_REQUEST_BYTES: Final = 900_000
# Characters of an event's name (https://developers.facebook.com/docs/meta-pixel/implementation/conversion-tracking).
MAX_NAME: Final = 50
# How old an event may be.
MAX_AGE: Final = timedelta(days=7)
MAX_AGE_IN_STORE: Final = timedelta(days=62)
# How far another machine's clock may be ahead of this one's. Meta refuses times that are yet to come.
MAX_AHEAD: Final = timedelta(minutes=5)

ActionSource = Literal[
    "email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging", "other"
]


class MetaConversionsOptions(HttpOptions):
    """The settings of a destination at Meta."""

    dataset_id: str | None = Field(
        default=None,
        pattern=r"^[0-9]+$",
        description="The id of the data set, which is that of the pixel. Without one, events wait.",
    )
    access_token: SecretStr | None = Field(
        default=None, description="A token with the right to send to the data set. Without one, events wait."
    )
    host: Host = Field(default="https://graph.facebook.com", description="Where the Graph API is: scheme and host.")
    api_version: str = Field(
        default="v26.0", pattern=r"^v[0-9]+\.[0-9]+$", description="The Graph API's version; each works for two years."
    )
    action_source: ActionSource = Field(
        default="website", description="Where the events happen; data.action_source of an event wins."
    )
    action_source_without_browser: ActionSource = Field(
        default="system_generated",
        description='Replaces "website" for events without the page or the browser, which Meta requires of those.',
    )
    currency: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z]{3}$",
        description="The currency of values without one, such as EUR (ISO 4217).",
    )
    test_event_code: str | None = Field(
        default=None,
        description="Shows the events under Test events in Meta's Events Manager; they count nevertheless.",
    )
    partner_agent: str | None = Field(
        default=None, description="The name that Meta knows the sending platform by, if any."
    )
    limited_data_use: bool = Field(
        default=False, description="Ask Meta for Limited Data Use, for people in some states of the USA."
    )
    limited_data_use_country: int = Field(
        default=0, ge=0, description="The country of limited_data_use: 1 for the USA, 0 to let Meta find out."
    )
    limited_data_use_state: int = Field(
        default=0, ge=0, description="The state, such as 1000 for California; 0 to let Meta find out."
    )


def to_server_event(event: Event, options: MetaConversionsOptions, now: datetime) -> dict[str, Any]:
    """The server event that an event becomes. Pure: the event and its dicts stay as they are.

    Args:
        event: The event, after the operator's rules.
        options: The destination's options.
        now: The current time, aware: the event's age is counted to then.

    Raises:
        UndeliverableError: ``too_old``, ``from_the_future``, ``missing_user_data`` or ``invalid``.
    """
    if not event.name or len(event.name) > MAX_NAME:
        raise UndeliverableError(
            INVALID,
            f"the name of event {event.id} has {len(event.name)} characters and Meta takes 1 to {MAX_NAME}: set "
            "name in the destination's mapping",
        )
    person = Person.of(event)
    data = data_fields(event)
    page = to_web_url(data.get("event_source_url")) or person.page_url
    about = user_data(event, person)
    source = _action_source(event, options, in_browser=page is not None and "client_user_agent" in about)
    server_event: dict[str, Any] = {
        "event_name": event.name,
        "event_time": _event_time(event, source, now),
        "event_id": event.id,
        "action_source": source,
        "user_data": about,
    }
    if page is not None:
        server_event["event_source_url"] = page
    if custom := custom_data(event, event_name=event.name, currency=options.currency):
        server_event["custom_data"] = custom
    if options.limited_data_use:
        server_event["data_processing_options"] = ["LDU"]
        server_event["data_processing_options_country"] = options.limited_data_use_country
        server_event["data_processing_options_state"] = options.limited_data_use_state
    return server_event


def _event_time(event: Event, source: str, now: datetime) -> int:
    limit = MAX_AGE_IN_STORE if source == "physical_store" else MAX_AGE
    age = now - event.timestamp
    if age > limit:
        raise UndeliverableError(
            TOO_OLD,
            f"event {event.id} is of {event.timestamp:%Y-%m-%d} and Meta takes events of at most {limit.days} days: "
            "it cannot be sent there any more",
        )
    if -age > MAX_AHEAD:
        raise UndeliverableError(
            FROM_THE_FUTURE,
            f"event {event.id} is of {event.timestamp:%Y-%m-%d %H:%M} UTC, which is yet to come: set the clock of the "
            "machine that it came from, and replay it then",
        )
    return int(min(event.timestamp, now).timestamp())


def _action_source(event: Event, options: MetaConversionsOptions, *, in_browser: bool) -> str:
    own = data_fields(event).get("action_source")
    if own is not None and own not in get_args(ActionSource):
        known = ", ".join(get_args(ActionSource))
        raise UndeliverableError(INVALID, f"event {event.id} has an action_source that Meta does not know: {known}")
    source: str = options.action_source if own is None else own
    return options.action_source_without_browser if source == "website" and not in_browser else source


class MetaConversions(HttpDestination[MetaConversionsOptions, bytes]):
    """Delivers to a data set of Meta. The access token stands in the body, so that no log of URLs has it."""

    Options = MetaConversionsOptions
    deletion = "never"
    deletion_steps = (
        "Events cannot be deleted; take the person out of custom audiences. Send only hashed ids, or ask for consent."
    )
    traits = META_CONVERSIONS
    integration = "Facebook Conversions API (Actions)"
    advertising = True
    shares_contexts = True
    limits = Limits(events=MAX_REQUEST_EVENTS, request_bytes=MAX_REQUEST_BYTES)

    @classmethod
    def max_age_seconds(cls, options: BaseModel) -> float | None:
        in_store = getattr(options, "action_source", None) == "physical_store"
        return (MAX_AGE_IN_STORE if in_store else MAX_AGE).total_seconds()

    @property
    def endpoint(self) -> str:
        return f"{self.options.host}/{self.options.api_version}/{self.options.dataset_id or ''}/events"

    def missing_settings(self) -> str | None:
        if not self.options.dataset_id:
            lack = f"no data set: set {self.variable('dataset_id')} to the id of your pixel"
        elif not reveal(self.options.access_token):
            lack = f"no access token: set {self.variable('access_token')} to one made in Meta's Events Manager"
        else:
            return None
        return f"Meta's destination has {lack}; the events of {self.name!r} wait until then"

    def item(self, event: Event) -> bytes:
        """The server event of an event, as JSON."""
        return msgspec.json.encode(to_server_event(event, self.options, datetime.now(UTC)))

    def body_bytes(self, items: Sequence[bytes], items_bytes: int) -> int:
        return len(self.request([]).body) + items_bytes + len(items) - 1

    def request(self, items: Sequence[bytes]) -> Request:
        data = [msgspec.Raw(item) for item in items]
        body: dict[str, Any] = {"data": data, "access_token": reveal(self.options.access_token)}
        for key in ("test_event_code", "partner_agent"):
            if value := getattr(self.options, key):
                body[key] = value
        return Request(url=self.endpoint, body=msgspec.json.encode(body), headers={"Content-Type": "application/json"})

    def outcome(self, answer: Answer, items: Sequence[bytes]) -> Outcome:
        return outcome_of_answer(answer, label=self.label, sent=len(items))
