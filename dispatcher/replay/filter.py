"""Choice: which events of a log are meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from dispatcher.routing import Allowlist, Router

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.event import Event

# What is kept from a destination for other reasons than its allowlist stays so with ``everything`` too.
_BY_ALLOWLIST: Final = frozenset({"not_on_allowlist", "excluded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Everything that is given has to hold.

    Args:
        events: Names, globs and ``!`` exceptions, as in an allowlist; empty for all.
        since: Events of that time or later.
        until: Events before that time.
        everything: Also what the destination's allowlist does not name. Internal events stay where they are.
    """

    events: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    everything: bool = False


class Chooser:
    """Decides for one destination.

    Args:
        settings: With the destination's allowlist.
    """

    def __init__(self, settings: Settings, destination: str, choice: Choice) -> None:
        self._destination = destination
        self._choice = choice
        self._router = Router(settings)
        only_exceptions = all(entry.startswith("!") for entry in choice.events)
        self._events = Allowlist(("*", *choice.events) if only_exceptions else choice.events)
        self._table = settings.destinations[destination]
        self._internal = settings.internal_events

    def __contains__(self, event: Event) -> bool:
        choice = self._choice
        if choice.since is not None and event.timestamp < choice.since:
            return False
        if choice.until is not None and event.timestamp >= choice.until:
            return False
        return event.name in self._events and self._goes(event.name)

    @property
    def fingerprint(self) -> str:
        """The same for choices that mean the same events."""
        choice = self._choice
        lists = (choice.events, self._table.events, self._table.internal, self._internal)
        return repr((choice.since, choice.until, choice.everything, lists))

    def _goes(self, name: str) -> bool:
        routes = self._router.route(name)
        if self._destination in routes.destinations:
            return True
        return self._choice.everything and routes.skipped.get(self._destination) in _BY_ALLOWLIST
