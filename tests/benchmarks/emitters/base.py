"""Emitter: one way of recording an event, ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

from tests.benchmarks.place import Place

#: Takes the data of one event; name and context are bound before.
Emit = Callable[[dict[str, Any]], object]

#: By the names of their modules, in the order in which they are shown.
TITLES: Final = {
    "ours": "dispatcher, tracker.emit",
    "floor": "the floor: encode, copy into a map",
    "segment_analytics": "segment-analytics-python, track",
    "event_tracking_log": "event-tracking, LoggerBackend",
    "event_tracking_async": "event-tracking, AsyncRoutingBackend",
    "celery_delay": "Celery, delay()",
}


@dataclass(frozen=True, kw_only=True)
class Emitter:
    """An emitter that is open.

    Args:
        emit: Records one event.
        settle: Waits until what goes on in the background after the calls so far has come to rest.
        dropped: How many events it could not take so far.
        bind: Binds another request's context.
        refuse: Ends what it sends to, where that is not Redis.
    """

    emit: Emit
    settle: Callable[[], object] = lambda: None
    dropped: Callable[[], int] = lambda: 0
    bind: Callable[[dict[str, Any]], object] = lambda context: None
    refuse: Callable[[], object] = lambda: None


def open_emitter(name: str, place: Place) -> AbstractContextManager[Emitter]:
    """The emitter of a name. Raises ModuleNotFoundError where its package is not installed."""
    module = import_module(f"tests.benchmarks.emitters.{name}")
    return cast("AbstractContextManager[Emitter]", module.opened(place))
