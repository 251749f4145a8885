"""Emitter: one way to record an event, ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Final, cast

from tests.benchmarks.place import Place

#: Takes the data of one event; name and context are bound before.
Emit = Callable[[dict[str, Any]], object]

#: The titles of the emitters by their modules, in the order of the tables.
TITLES: Final = {
    "ours": "dispatcher",
    "before": "dispatcher, the other checkout",
    "floor": "the floor: encode, copy into a map",
    "segment_analytics": "segment-analytics-python, track",
    "event_tracking_log": "event-tracking, LoggerBackend",
    "event_tracking_async": "event-tracking, AsyncRoutingBackend",
    "event_tracking_dropin": "event-tracking's API, served by dispatcher",
    "celery_delay": "Celery, delay()",
    "celery_post": "Celery, a task for each event",
    "event_tracking_segment": "event-tracking, async to Segment",
    "bare_uvicorn": "bare uvicorn, a body read and answered",
    "starlette": "bare Starlette, JSON read and answered",
    "event_routing_backends": "event-routing-backends, reading alone",
}

#: Those whose calls are compared: the others call what one of these does, and differ in their workers only.
CALLS: Final = (
    "ours",
    "floor",
    "segment_analytics",
    "event_tracking_log",
    "event_tracking_async",
    "event_tracking_dropin",
    "celery_delay",
)


@dataclass(frozen=True, kw_only=True)
class Emitter:
    """An emitter that is open.

    Args:
        emit: Records one event.
        settle: Waits until the background work of the calls so far is done.
        dropped: The number of events that it could not take so far.
        bind: Binds another request's context.
        unbind: Ends that, as a request does.
        make_room: Waits while a thousand more would be too many for its queue.
        refuse: Ends the server that it sends to, if that is not Redis.
    """

    emit: Emit
    settle: Callable[[], object] = lambda: None
    dropped: Callable[[], int] = lambda: 0
    bind: Callable[[dict[str, Any]], object] = lambda context: None
    unbind: Callable[[], object] = lambda: None
    make_room: Callable[[], object] = lambda: None
    refuse: Callable[[], object] = lambda: None


def load(name: str) -> ModuleType:
    """The module of the emitter of this name. Raises ModuleNotFoundError if its package is not installed."""
    return import_module(f"tests.benchmarks.emitters.{name}")


def open_emitter(name: str, place: Place) -> AbstractContextManager[Emitter]:
    """The emitter of this name. Raises ModuleNotFoundError if its package is not installed."""
    return cast("AbstractContextManager[Emitter]", load(name).opened(place))
