"""EventRoutingBackends: sends what event-routing-backends makes of events, as xAPI or Caliper, many in a request.

An LRS refuses a request as a whole: 400 for a statement that breaks a rule, 409 for one whose id it has with other
contents. Sources: https://github.com/adlnet/xAPI-Spec/blob/master/xAPI-Communication.md §2.1.1 and §3.2, and
https://www.imsglobal.org/sites/default/files/caliper/v1p2/caliper-spec-v1p2/caliper-spec-v1p2.html §5.
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from pydantic import Field, SecretStr, model_validator

from dispatcher.destinations.base import reveal
from dispatcher.destinations.traits import EVENT_ROUTING_BACKENDS
from dispatcher.outcomes import DELIVERED, INVALID, Dead
from dispatcher.tasks.destinations.event_routing_backends.transformers import (
    Format,
    Transformers,
    missing_package,
)
from dispatcher.tasks.destinations.http import Answer, HttpDestination, HttpOptions, Limits, NoAnswer, Request
from dispatcher.tasks.destinations.http.json_array import json_array
from dispatcher.tasks.destinations.http.urls import BaseUrl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.destinations.base import Batch
    from dispatcher.event import Event
    from dispatcher.outcomes import Outcome
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

_XAPI_VERSION: Final = "1.0.3"
_CALIPER_VERSION: Final = "http://purl.imsglobal.org/ctx/caliper/v1p2"
# An LRS has a statement of this id, and other contents than those that were sent (xAPI-Communication §2.1.1).
_CONFLICT: Final = 409
# The time of sending, in front of a Caliper envelope.
_SEND_TIME: Final = '{{"sendTime":"{}",'
_SEND_TIME_BYTES: Final = len(_SEND_TIME.format("2026-01-02T03:04:05.678Z")) - 1


class EventRoutingBackendsOptions(HttpOptions):
    """The settings of a destination whose events event-routing-backends transforms."""

    url: BaseUrl = Field(
        description="Of the LRS, without /statements, as https://lrs.example.org/xAPI; or the Caliper endpoint."
    )
    format: Format = Field(default="xapi", description='"xapi" or "caliper": which transformers.')
    django_settings: str | None = Field(
        default=None, description="The module of the LMS's Django settings; absent: that of DJANGO_SETTINGS_MODULE."
    )
    username: str | None = Field(default=None, description="For Basic authentication, with password.")
    password: SecretStr | None = Field(default=None, description="For Basic authentication, with username.")
    token: SecretStr | None = Field(default=None, description="For Bearer authentication.")
    sensor: str | None = Field(
        default=None, description="What sends Caliper events, as a URL; absent: LMS_ROOT_URL of the Django settings."
    )
    max_events: int = Field(default=100, ge=1, le=10_000, description="Most events in a request.")
    max_bytes: int = Field(default=1_000_000, ge=1000, le=100_000_000, description="Most bytes in a request's body.")

    @model_validator(mode="after")
    def _check_authentication(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("password belongs to a username: set that too")
        if self.token is not None and self.password is not None:
            raise ValueError("token and password are two ways to authenticate: set one of them")
        return self


class Transformed(msgspec.Struct, frozen=True):
    """What an event became: the ids of its statements, or Caliper events, and the JSON of each."""

    ids: tuple[str, ...]
    parts: tuple[bytes, ...]


class EventRoutingBackends(HttpDestination[EventRoutingBackendsOptions, Transformed]):
    """Delivers statements to an LRS, or Caliper events to their endpoint.

    What an event becomes has the same ids whenever it is sent again, and an LRS keeps one statement per id.
    """

    Options = EventRoutingBackendsOptions
    deletion = "by_hand"
    deletion_steps = (
        "xAPI can only void statements: delete the actor's in the store of the LRS, as in Aspects' ClickHouse."
    )
    traits = EVENT_ROUTING_BACKENDS

    def __init__(
        self,
        name: str,
        options: EventRoutingBackendsOptions,
        *,
        rules: Rules | None = None,
        rate: Rate | None = None,
    ) -> None:
        self.limits = Limits(events=options.max_events, request_bytes=options.max_bytes)
        self._is_xapi = options.format == "xapi"
        self._transformers = Transformers(options.format, options.django_settings)
        super().__init__(name, options, rules=rules, rate=rate)

    @property
    def endpoint(self) -> str:
        url = self.options.url
        return f"{url}/statements" if self._is_xapi and not url.endswith("/statements") else url

    @classmethod
    def missing_package(cls) -> str | None:
        return missing_package()

    def missing_settings(self) -> str | None:
        problem = self._transformers.problem()
        if self.options.username is not None and self.options.password is None:
            problem = f"the LRS has a username and no password: set {self.variable('password')}"
        return None if problem is None else f"{problem}; the events of {self.name!r} wait until then"

    def item(self, event: Event) -> Transformed:
        made = self._transformers.transform(event)
        if not self._is_xapi:
            # Each call of a transformer gives another id there, by which no repeat could be known.
            made = [each | {"id": _caliper_id(event.id, position)} for position, each in enumerate(made)]
        return Transformed(
            tuple(str(each.get("id")) for each in made), tuple(msgspec.json.encode(each) for each in made)
        )

    def item_bytes(self, item: Transformed) -> int:
        return sum(map(len, item.parts)) + len(item.parts) - 1

    def body_bytes(self, items: Sequence[Transformed], items_bytes: int) -> int:
        """The same without what an LRS would get twice, and with the time of sending."""
        return len(self.request(items).body) + (0 if self._is_xapi else _SEND_TIME_BYTES)

    def request(self, items: Sequence[Transformed]) -> Request:
        """The request before the time of sending, which a Caliper envelope has. Each id is in it once.

        An LRS refuses a request with two statements of one id (xAPI-Communication §2.1.1).
        """
        parts: dict[str, bytes] = {}
        for item in items:
            for id_, part in zip(item.ids, item.parts, strict=True):
                parts.setdefault(id_, part)
        body = json_array(list(parts.values()))
        headers = {"Content-Type": "application/json", **self._authorization()}
        if self._is_xapi:
            return Request(url=self.endpoint, body=body, headers={**headers, "X-Experience-API-Version": _XAPI_VERSION})
        sensor = msgspec.json.encode(self.options.sensor or self._transformers.root_url)
        envelope = b'{"sensor":%s,"dataVersion":"%s","data":%s}' % (sensor, _CALIPER_VERSION.encode(), body)
        return Request(url=self.endpoint, body=envelope, headers=headers)

    def sign(self, request: Request) -> Request:
        """Add the time of sending to a Caliper envelope."""
        if self._is_xapi:
            return request
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return replace(request, body=_SEND_TIME.format(now).encode() + request.body[1:])

    def send(self, items: Sequence[Transformed], *, attempt: int) -> Answer | NoAnswer:
        """Send a request; the statements of one event one by one where the LRS has some of them already."""
        answer = super().send(items, attempt=attempt)
        if len(items) > 1 or len(items[0].ids) == 1 or not self._is_conflict(answer):
            return answer
        for id_, part in zip(items[0].ids, items[0].parts, strict=True):
            each = super().send([Transformed((id_,), (part,))], attempt=attempt)
            if isinstance(each, NoAnswer) or not (200 <= each.status < 300 or self._is_conflict(each)):
                return each
        return answer

    def outcome(self, answer: Answer, items: Sequence[Transformed]) -> Outcome:
        if self._is_conflict(answer):
            # The LRS has one of the statements, and takes none of a request that has it: the others go without it.
            is_there = len(items) == 1
            return DELIVERED if is_there else Dead(INVALID, f"{self.label} has a statement of the request already")
        return self._outcome_in_parts(answer) or super().outcome(answer, items)

    def preview(self, event: Event) -> dict[str, Any]:
        """As every HTTP destination's; the site's database is asked."""
        try:
            return super().preview(event)
        finally:
            self._transformers.release()

    def _deliver(self, batches: Sequence[Batch]) -> list[list[Outcome]]:
        try:
            return super()._deliver(batches)
        finally:
            self._transformers.release()

    def _outcome_in_parts(self, answer: Answer) -> Outcome | None:
        """The outcome where a Ralph takes requests in part, whatever its status: it says so, and what it refuses.

        The parts of the request are then sent again, and each that has nothing but what is there is delivered. Source:
        Ralph 5.1, the query ``partialSuccess`` and RALPH_LRS_PARTIAL_SUCCESS_DEFAULT.
        """
        body = answer.json() if self._is_xapi and answer.status in {200, 400} else None
        if not isinstance(body, dict) or "inserted" not in body or not isinstance(body.get("errors"), list):
            return None
        return Dead(INVALID, f"{self.label} refuses a statement for its contents") if body["errors"] else DELIVERED

    def _is_conflict(self, answer: Answer | NoAnswer) -> bool:
        return self._is_xapi and isinstance(answer, Answer) and answer.status == _CONFLICT

    def _authorization(self) -> dict[str, str]:
        if self.options.token is not None:
            return {"Authorization": f"Bearer {reveal(self.options.token)}"}
        if self.options.username is None:
            return {}
        pair = f"{self.options.username}:{reveal(self.options.password)}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _caliper_id(event_id: str, position: int) -> str:
    """A URN, as Caliper wants ids, that is the same whenever the event is sent again."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{event_id}#{position}").urn
