"""Browser calls: what an event becomes where a vendor takes it from a browser only. Pure: calls are data, not made.

A browser client hands each call over on the page of the visitor whose event it is, and acknowledges it by its id.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from dispatcher.errors import DropEvent, UndeliverableError

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules

# Keys that Google Tag Manager reads as orders to itself: https://developers.google.com/tag-manager/devguide
_RESERVED_IN_DATA_LAYER: Final = re.compile(r"event|eventCallback|eventTimeout|gtm(\..*)?")

# What the reserved tag of Optimizely counts: https://docs.developers.optimizely.com/web/docs/event
_REVENUE: Final = "revenue"


class BrowserOptions(BaseModel):
    """A browser destination has no settings beyond those of every destination: its script is on the page already."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserCall:
    """One call of a function that the vendor's script has put on the page.

    Args:
        call: The function's path from ``window``, such as ``dataLayer.push``.
        arguments: JSON values.
    """

    call: str
    arguments: tuple[Any, ...]

    def to_json(self) -> dict[str, Any]:
        """As the browser client gets it."""
        return {"call": self.call, "arguments": list(self.arguments)}


class BrowserDestination(ABC):
    """Base of the destinations that a browser hands over to. Knows no network; safe in threads.

    Args:
        name: The name of its table in the settings.
        options: Its own options: none.
        rules: What the operator wants done with each event before. None for nothing.
    """

    Options: ClassVar[type[BrowserOptions]] = BrowserOptions
    #: What Segment's ``integrations`` object calls it.
    integration: ClassVar[str]
    #: Whether what it gets may be used for advertising.
    advertising: ClassVar[bool] = False

    def __init__(self, name: str, options: BrowserOptions, *, rules: Rules | None = None) -> None:
        self.name = name
        self.options = options
        self.rules = rules

    @abstractmethod
    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        """What is called for an event to which the rules were applied, in order. The event stays as it is.

        Raises:
            UndeliverableError: The vendor's script cannot take it.
            DropEvent: It is right to leave it out.
        """

    def hand_over(self, event: Event) -> dict[str, Any]:
        """What the browser client gets: ``{"id": …, "calls": [{"call": …, "arguments": […]}, …]}``.

        The id is the event's, by which the client acknowledges that it made the calls. Raises as ``calls`` does, and
        what the rules raise.
        """
        ruled = event if self.rules is None else self.rules.apply(event)
        return {"id": ruled.id, "calls": [call.to_json() for call in self.calls(ruled)]}

    def preview(self, event: Event) -> dict[str, Any]:
        """What would be handed over for an event, or ``{"outcome": "dead" or "filtered", "reason": …, …}``."""
        try:
            return self.hand_over(event)
        except UndeliverableError as error:
            return {"outcome": "dead", "reason": error.reason, "error": str(error)}
        except DropEvent as drop:
            return {"outcome": "filtered", "reason": str(drop.reason)}

    def close(self) -> None:  # noqa: B027 - not every destination has something to let go of
        """Let go of what is held, which is nothing."""


class GoogleTagManagerWeb(BrowserDestination):
    """Google Tag Manager's web container: ``dataLayer.push`` (https://developers.google.com/tag-manager/devguide).

    A key of the data with a meaning of its own to Tag Manager makes the event undeliverable.
    """

    integration = "Google Tag Manager"
    # Its tags are advertisers' for the most part.
    advertising = True

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        data = _as_object(event.data)
        reserved = [key for key in data if _RESERVED_IN_DATA_LAYER.fullmatch(key)]
        if reserved:
            raise UndeliverableError(
                "reserved",
                f"Google Tag Manager has a meaning of its own for {', '.join(reserved)} in the data layer: rename or "
                f"drop it in [[destinations.{self.name}.mapping]]",
            )
        message: dict[str, Any] = {"eventId": event.id}
        if (user := _user_of_the_page(event)) is not None:
            message["userId"] = user
        return (BrowserCall(call="dataLayer.push", arguments=({**message, **data, "event": event.name},)),)


class OptimizelyWeb(BrowserDestination):
    """Optimizely Web: ``optimizely.push`` of an event (https://docs.developers.optimizely.com/web/docs/event).

    Tags are flat, so objects, lists and nulls of the data are left out. The visitor is the browser's own.
    """

    integration = "Optimizely"

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        tags = _scalars(event.data)
        if _REVENUE in tags:
            tags[_REVENUE] = self._cents(tags[_REVENUE])
        # Segment calls them so, and an API name cannot hold a colon.
        message = {"type": "event", "eventName": event.name.replace(":", "_"), "tags": tags}
        return (BrowserCall(call="optimizely.push", arguments=(message,)),)

    def _cents(self, revenue: object) -> int:
        if isinstance(revenue, int) and not isinstance(revenue, bool):
            return revenue
        if isinstance(revenue, float) and revenue.is_integer():
            return int(revenue)
        raise UndeliverableError(
            "invalid",
            "Optimizely takes the tag revenue as a whole number of cents: emit it so, or drop it in "
            f"[[destinations.{self.name}.mapping]]",
        )


class Qualaroo(BrowserDestination):
    """Qualaroo: ``_kiq.push`` (https://help.qualaroo.com/hc/en-us/articles/201956628-Using-the-Identity-API-call).

    It has no events but visitors with properties: the data's, and ``Triggered: NAME``, which surveys can be targeted
    by. Properties are flat, so objects, lists and nulls of the data are left out.
    """

    integration = "Qualaroo"

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        properties = {**_scalars(event.data), f"Triggered: {event.name}": True}
        user = _user_of_the_page(event)
        commands = [] if user is None else [["identify", user]]
        return tuple(BrowserCall(call="_kiq.push", arguments=(one,)) for one in [*commands, ["set", properties]])


class CrazyEgg(BrowserDestination):
    """Crazy Egg: its script records pages by itself, and no call for events is documented. Takes none."""

    integration = "Crazy Egg"

    def preview(self, event: Event) -> dict[str, Any]:
        """That it is left out, and why."""
        why = "Crazy Egg's script records pages by itself, and documents no call that would hand it an event"
        return {**super().preview(event), "error": why}

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        raise DropEvent("no_event_call")


def _user_of_the_page(event: Event) -> str | None:
    # The context's user is the one whose browser it is; a user_id in the data may be somebody else's, as where one
    # person enrols another.
    user = event.context.get("user_id")
    return str(user) if isinstance(user, str | int) and not isinstance(user, bool) and user != "" else None


def _as_object(data: object) -> dict[str, Any]:
    # edX's browser events may have text, a form as the page sent it.
    return data if isinstance(data, dict) else {"data": data}


def _scalars(data: object) -> dict[str, Any]:
    return {key: value for key, value in _as_object(data).items() if isinstance(value, str | int | float)}
