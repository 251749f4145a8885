"""Filter: which events of a log are replayed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from dispatcher.outcomes import EXCLUDED, NOT_ON_ALLOWLIST
from dispatcher.process.clock import time_ns
from dispatcher.routing import Allowlist, Router
from dispatcher.suppression.suppression_list import suppression_list

if TYPE_CHECKING:
    from dispatcher.config import Settings
    from dispatcher.event import Event

# An event that is kept from a destination for another reason is not replayed with ``unlisted`` either.
_BY_ALLOWLIST: Final = frozenset({NOT_ON_ALLOWLIST, EXCLUDED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Takes the events for which everything that is given holds.

    Args:
        events: Names, globs and ``!`` exceptions, as in an allowlist; empty for all.
        since: Events of that time or later.
        until: Events before that time.
        max_age_seconds: Events that are not older, since the destination's vendor takes no older ones; None for any.
            They are counted as too old, where everything else holds.
        unlisted: Events too that the destination's allowlist does not name. Internal events stay where they are.
    """

    events: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    unlisted: bool = False
    max_age_seconds: float | None = None


class Matcher:
    """Applies a filter for one destination. Safe in threads.

    Args:
        settings: With the destination and its allowlist.
        destination: Its name.
        filter: What the operator wants.

    Raises:
        OSError, DispatcherError: The list of who is to be forgotten cannot be read.
    """

    def __init__(self, settings: Settings, destination: str, filter: Filter) -> None:
        self._destination = destination
        self._filter = filter
        self._router = Router(settings)
        only_exceptions = all(entry.startswith("!") for entry in filter.events)
        self._events = Allowlist(("*", *filter.events) if only_exceptions else filter.events)
        table = settings.destinations[destination]
        lists = (filter.events, table.events, table.internal, settings.internal_events)
        self._suppressed = suppression_list(settings.state_directory)
        self._suppressed.refresh()
        #: The same for filters that match the same events. A replay is known by it for 30 days.
        self.fingerprint: Final = repr((filter.since, filter.until, filter.unlisted, lists))

    def is_too_old(self, event: Event) -> bool:
        """Whether an event that matches is older than the destination's vendor takes by now."""
        limit = self._filter.max_age_seconds
        return limit is not None and time_ns() / 1e9 - event.timestamp.timestamp() > limit

    def is_forgotten(self, event: Event) -> bool:
        """Whether an event that matches names somebody who is to be forgotten."""
        return not self._suppressed.is_empty() and self._suppressed.is_named_in(
            {"name": event.name, "data": event.data, "context": event.context}
        )

    def matches(self, event: Event) -> bool:
        """Whether an event is replayed to the destination."""
        if self._filter.since is not None and event.timestamp < self._filter.since:
            return False
        if self._filter.until is not None and event.timestamp >= self._filter.until:
            return False
        if event.name not in self._events:
            return False
        routes = self._router.route(event.name)
        if self._destination in routes.destinations:
            return True
        return self._filter.unlisted and routes.skipped.get(self._destination) in _BY_ALLOWLIST
