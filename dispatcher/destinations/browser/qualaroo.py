"""Qualaroo: events as properties of a visitor, which surveys are targeted by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.destinations.browser.base import BrowserCall, BrowserDestination, page_user, scalars

if TYPE_CHECKING:
    from dispatcher.event import Event


class Qualaroo(BrowserDestination):
    """Qualaroo: ``_kiq.push`` (https://help.qualaroo.com/hc/en-us/articles/201956628-Using-the-Identity-API-call).

    It has no events but visitors with properties: the data's, and ``Triggered: NAME``, which surveys can be targeted
    by. Properties are flat, so objects, lists and nulls of the data are left out.
    """

    integration = "Qualaroo"
    deletion = "on_request"
    deletion_steps = "Ask Qualaroo's support to delete the identity's responses."

    def calls(self, event: Event) -> tuple[BrowserCall, ...]:
        commands: list[list[object]] = [["set", {**scalars(event.data), f"Triggered: {event.name}": True}]]
        if (user := page_user(event)) is not None:
            commands.insert(0, ["identify", user])
        return tuple(BrowserCall(call="_kiq.push", arguments=(command,)) for command in commands)
