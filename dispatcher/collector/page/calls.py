"""PageCalls: what the events of a page become there, for the answer to it: a click is handed over before the page goes.

Pure: the same destinations, rules and calls as a worker's, which posts the events later and finds them acknowledged.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dispatcher.destinations.browser.base import BrowserDestination
from dispatcher.destinations.build import build
from dispatcher.routing import Router
from dispatcher.secrecy.visitor import CONTEXT_KEY

if TYPE_CHECKING:
    from dispatcher.collector.route import Accepted
    from dispatcher.config import DestinationSettings, Settings

# Of one answer. The others come by the mailbox.
_MAX_CALLS: Final = 50


class PageCalls:
    """Finds the calls of events that were taken just now. For one thread.

    Args:
        settings: Where they have processors, nothing is found here: these change and drop events behind the collector.
    """

    def __init__(self, settings: Settings) -> None:
        tables = {} if settings.processors else settings.browser_destinations
        built = {name: build(name, table) for name, table in tables.items()}
        self._destinations = {name: one for name, one in built.items() if isinstance(one, BrowserDestination)}
        self._notes = {name: page_note(table, built[name].advertising) for name, table in tables.items()}
        self._router = Router(settings.model_copy(update={"destinations": tables}))

    def of(self, accepted: Accepted, paused: Container[str] = ()) -> list[dict[str, Any]]:
        """The events with their calls, as ``HandoverRoute`` answers them; none for a page that does not take them.

        Args:
            accepted: What was taken.
            paused: Destinations that get nothing now.
        """
        events = accepted.events
        if not self._destinations or not events or CONTEXT_KEY not in events[0].context:
            return []
        found: list[dict[str, Any]] = []
        for event in events:
            for name in self._router.route(event.name, event.type).destinations:
                if len(found) >= _MAX_CALLS:
                    return found
                if name in paused:
                    continue
                # They are taken already; of what goes wrong the worker makes a dead letter that says so.
                with suppress(Exception):
                    handed = self._destinations[name].hand_over(event)
                    found.append({"destination": name, **handed, **self._notes[name]})
        return found


def page_note(table: DestinationSettings, advertising: bool) -> dict[str, Any]:
    """What a page has to know of a destination before it hands over: the consent that is needed."""
    return {"consent": list(table.consent or ()), "advertising": advertising}
