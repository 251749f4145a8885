"""MeasurementProtocol: the base of destinations that take hits. A subclass says where hits go and whom they are about.

A request has up to 25 events of one person, and less than 130 kB. Source:
https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#limitations.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, TypeVar

import msgspec
from pydantic import BaseModel, Field

from dispatcher.outcomes import TOO_OLD
from dispatcher.tasks.destinations.http import HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.measurement_protocol.hit import MAX_AGE, Hit, HitOptions, to_hit

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

MAX_REQUEST_EVENTS: Final = 25
# "The post body must be smaller than 130kB."
MAX_REQUEST_BYTES: Final = 129_999


class MeasurementProtocolOptions(HttpOptions):
    """The settings of every destination of the protocol."""

    # A request is about one person, so most have one event.
    concurrency: int | None = Field(default=8, ge=1, le=100, description="Requests at a time in one worker process.")
    send_user_id: bool = Field(default=True, description="Send the user's id, where it is known, as user_id.")
    send_page: bool = Field(
        default=True, description="Send the page and its referrer as page_location and page_referrer."
    )
    send_event_id: bool = Field(
        default=True, description="Send the event's id as the parameter event_id, by which a repeat can be told."
    )
    analytics_360: bool = Field(
        default=False, description="The property is one of Analytics 360: texts may have 500 characters, not 100."
    )
    too_old: Literal["dead", "now"] = Field(
        default="dead",
        description="What becomes of an event that is older than Google's 72 h: a dead letter, or sent as if it "
        "happened now.",
    )
    ad_user_data_consent: str | None = Field(
        default=None, description="The consent category that stands for Google's ad_user_data."
    )
    ad_personalization_consent: str | None = Field(
        default=None, description="The consent category that stands for Google's ad_personalization."
    )


MeasurementProtocolOptionsT = TypeVar("MeasurementProtocolOptionsT", bound=MeasurementProtocolOptions)


class MeasurementProtocol(HttpDestination[MeasurementProtocolOptionsT, Hit], Generic[MeasurementProtocolOptionsT]):
    """Base of destinations that take hits. A subclass defines ``Options``, ``endpoint``, ``identity`` and ``query``."""

    limits = Limits(events=MAX_REQUEST_EVENTS, request_bytes=MAX_REQUEST_BYTES)
    advertising = True
    shares_contexts = True
    #: Whether hits go to an app's stream, and not to a web site's.
    app: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        options: MeasurementProtocolOptionsT,
        *,
        rules: Rules | None = None,
        rate: Rate | None = None,
    ) -> None:
        super().__init__(name, options, rules=rules, rate=rate)
        consents = {
            "ad_user_data": options.ad_user_data_consent,
            "ad_personalization": options.ad_personalization_consent,
        }
        self._hit_options = HitOptions(
            app=self.app,
            send_user_id=options.send_user_id,
            send_page=options.send_page,
            send_event_id=options.send_event_id,
            analytics_360=options.analytics_360,
            too_old=options.too_old,
            consent=tuple((name, category) for name, category in consents.items() if category is not None),
        )

    @abstractmethod
    def identity(self, event: Event) -> Mapping[str, str]:
        """Whom the event is about: ``client_id`` or ``app_instance_id``. Pure.

        Raises:
            UndeliverableError: The event does not say.
        """

    @abstractmethod
    def query(self) -> Mapping[str, str]:
        """The query of every request: the stream and its secret."""

    @classmethod
    def max_age_seconds(cls, options: BaseModel) -> float | None:
        return MAX_AGE.total_seconds() if getattr(options, TOO_OLD, None) == "dead" else None

    def headers(self) -> Mapping[str, str]:
        """Headers beside Content-Type; by default none."""
        return {}

    def item(self, event: Event) -> Hit:
        return to_hit(event, self.identity(event), self._hit_options, now=datetime.now(UTC))

    def group(self, item: Hit) -> Hashable:
        return item.common_key

    def item_bytes(self, item: Hit) -> int:
        return len(msgspec.json.encode(item.event))

    def request(self, items: Sequence[Hit]) -> Request:
        return self.request_to(self.endpoint, body_of(items))

    def request_to(self, url: str, body: Mapping[str, Any]) -> Request:
        """A request of the protocol to a URL."""
        return Request(
            url=url,
            query=self.query(),
            headers={"Content-Type": "application/json", **self.headers()},
            body=msgspec.json.encode(body),
        )


def body_of(items: Sequence[Hit]) -> dict[str, Any]:
    """The body of a request for hits whose common fields are equal."""
    body = dict(items[0].common)
    times = [item.event["timestamp_micros"] for item in items if "timestamp_micros" in item.event]
    # User properties have the time of the request unless the body has one. An event without a time would have that too.
    if "user_properties" in body and len(times) == len(items):
        body["timestamp_micros"] = max(times)
    return body | {"events": [item.event for item in items]}
