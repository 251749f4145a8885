"""Tracker: event-tracking's, on dispatcher's. What it emits goes to dispatcher unless it was given other backends."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from dispatcher.contrib.eventtracking.backends.routing import Processor, RoutingBackend
from dispatcher.contrib.eventtracking.dispatcher_backend import DispatcherBackend
from dispatcher.contrib.eventtracking.locator import DefaultContextLocator, ThreadLocalContextLocator
from dispatcher.emit import context as bound_context

UNKNOWN_EVENT_TYPE: Final = "unknown"
DEFAULT_TRACKER_NAME: Final = "default"
#: Registered trackers by name.
TRACKERS: Final[dict[str, Tracker]] = {}
LOG = logging.getLogger(__name__)

_ABSENT: Final = object()


class Tracker:
    """Emits events with the contexts that were entered. Safe in threads.

    Args:
        backends: By name; None for dispatcher alone, an empty dict for none at all.
        context_locator: Where contexts are; None for one set of contexts for all threads.
        processors: Called with each event before the backends are.

    Raises:
        ValueError: A backend without a ``send``, or a processor that cannot be called.
    """

    def __init__(
        self,
        backends: Mapping[str, Any] | None = None,
        context_locator: Any = None,
        processors: Iterable[Processor] | None = None,
    ) -> None:
        if backends is None:
            backends = {"dispatcher": DispatcherBackend()}
        self.routing_backend = RoutingBackend(backends=backends, processors=processors)
        self.context_locator = DefaultContextLocator() if context_locator is None else context_locator

    @property
    def located_context(self) -> MutableMapping[Any, Any]:
        """The contexts by name, in the order in which they were entered."""
        located: MutableMapping[Any, Any] = self.context_locator.get()
        return located

    @property
    def backends(self) -> MutableMapping[str, Any]:
        """The backends by name."""
        return self.routing_backend.backends

    @property
    def processors(self) -> list[Processor]:
        """The processors in their order."""
        return self.routing_backend.processors

    def get_backend(self, name: str) -> Any:
        """The backend of that name. Raises KeyError if there is none."""
        return self.backends[name]

    def emit(self, name: str | None = None, data: Any = None) -> None:
        """Record that something happened. Raises nothing; blocks as long as the backends do, and dispatcher's does not.

        Args:
            name: "unknown", if not given.
            data: JSON values by name.
        """
        name = name or UNKNOWN_EVENT_TYPE
        router = self.routing_backend
        if len(router.backends) == 1 and not router.processors and self._has_bound_contexts():
            backend = next(iter(router.backends.values()))
            if type(backend) is DispatcherBackend:
                # The context was encoded as it was entered, and nothing is there that could change the event.
                try:
                    backend.emit(name, data)
                except Exception as error:
                    LOG.error("an event was not taken: %s", error)
                return
        event = {"name": name, "timestamp": datetime.now(UTC), "data": data or {}, "context": self.resolve_context()}
        router.send(event)

    def _has_bound_contexts(self) -> bool:
        return (
            type(self.context_locator) is ThreadLocalContextLocator
            and type(self).resolve_context is Tracker.resolve_context
        )

    def resolve_context(self) -> dict[str, Any]:
        """All contexts that are entered, merged: a later one wins, key by key. A new dict."""
        merged: dict[str, Any] = {}
        for ctx in self.located_context.values():
            merged.update(ctx)
        return merged

    def enter_context(self, name: str, ctx: Mapping[str, Any]) -> None:
        """Put ``ctx`` into every event until ``exit_context(name)``, in place of one that has this name.

        Raises:
            TypeError: ``ctx`` is not a mapping. Only with dispatcher's contexts.
        """
        self.located_context[name] = ctx

    def exit_context(self, name: str) -> None:
        """Undo ``enter_context``. Raises KeyError if no context of that name is entered."""
        del self.located_context[name]

    @contextmanager
    def context(self, name: str, ctx: Mapping[str, Any]) -> Iterator[None]:
        """Have ``ctx`` entered for the length of a with block. A context that had the name before is back after it."""
        if type(self.context_locator) is ThreadLocalContextLocator:
            with bound_context.context(name, ctx):
                yield
            return
        located = self.located_context
        before = located.get(name, _ABSENT)
        self.enter_context(name, ctx)
        try:
            yield
        finally:
            if before is _ABSENT:
                located.pop(name, None)
            else:
                located[name] = before


def register_tracker(tracker: Tracker, name: str = DEFAULT_TRACKER_NAME) -> None:
    """Make a tracker known by a name, in place of the one that had it. ``emit`` uses the default one."""
    TRACKERS[name] = tracker


def get_tracker(name: str = DEFAULT_TRACKER_NAME) -> Tracker:
    """The tracker of that name. The default one is made where none was registered: it emits to dispatcher.

    Raises:
        KeyError: No tracker has that name.
    """
    if name == DEFAULT_TRACKER_NAME and name not in TRACKERS:
        return TRACKERS.setdefault(name, Tracker(context_locator=ThreadLocalContextLocator()))
    return TRACKERS[name]


def emit(name: str | None = None, data: Any = None) -> None:
    """``Tracker.emit`` of the default tracker."""
    get_tracker().emit(name=name, data=data)
