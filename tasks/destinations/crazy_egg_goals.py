"""Crazy Egg's goals: sends events as goal conversions through its tracking API, which takes nothing else from servers.

A request has up to 25 conversions. Source:
https://support.crazyegg.com/knowledge-base/crazy-egg-customer-facing-tracking-api.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pydantic import Field, SecretStr

from dispatcher.destinations.base import reveal
from dispatcher.errors import UndeliverableError
from dispatcher.event import data_fields
from dispatcher.outcomes import MISSING_USER
from dispatcher.tasks.destinations.http import HttpDestination, HttpOptions, Limits, Request
from dispatcher.tasks.destinations.http.urls import Host
from dispatcher.tasks.destinations.person import Person
from dispatcher.templates.number import to_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.event import Event

# A code of ISO 4217.
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class CrazyEggGoalsOptions(HttpOptions):
    """The settings of a Crazy Egg goals destination."""

    api_key: SecretStr | None = Field(default=None, description="The site's API key. Without one, events wait.")
    host: Host = Field(default="https://track.crazyegg.com", description="Where /api/v1 is: scheme and host.")


class CrazyEggGoals(HttpDestination[CrazyEggGoalsOptions, dict[str, Any]]):
    """Delivers goal conversions to a site of Crazy Egg, which cannot recognise a repeat."""

    Options = CrazyEggGoalsOptions
    deletion = "on_request"
    deletion_steps = "Ask Crazy Egg's support."
    limits = Limits(events=25)
    integration = "Crazy Egg"

    @property
    def endpoint(self) -> str:
        return f"{self.options.host}/api/v1"

    def missing_settings(self) -> str | None:
        if reveal(self.options.api_key):
            return None
        return (
            f"Crazy Egg needs the site's API key: set {self.variable('api_key')} to it, once its tracking API is "
            f"enabled for the site; the events of {self.name!r} wait until then"
        )

    def item(self, event: Event) -> dict[str, Any]:
        person = Person.of(event)
        user = person.user_id or person.anonymous_id
        if user is None:
            raise UndeliverableError(
                MISSING_USER,
                f"event {event.id} names nobody: bind user_id or session in its context, or set one of them in "
                f"[[destinations.{self.name}.mapping]]",
            )
        conversion: dict[str, Any] = {"goalName": event.name, "userIdentifier": user}
        if person.page_url is not None:
            conversion["url"] = person.page_url
        data = data_fields(event)
        if (value := to_number(data.get("value"))) is not None:
            conversion["value"] = value
        if (currency := _currency(data.get("currency"))) is not None:
            conversion["currency"] = currency
        return conversion

    def request(self, items: Sequence[dict[str, Any]]) -> Request:
        return Request(
            url=self.endpoint,
            body=msgspec.json.encode({"goalConversions": items}),
            headers={"Content-Type": "application/json", "Authorization": f"key {reveal(self.options.api_key)}"},
        )


def _currency(value: object) -> str | None:
    """The currency's code; None unless it looks like one of ISO 4217, of which Crazy Egg takes no others."""
    code = value.strip().upper() if isinstance(value, str) else ""
    return code if _CURRENCY.fullmatch(code) else None
