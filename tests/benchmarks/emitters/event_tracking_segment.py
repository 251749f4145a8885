"""event-tracking's AsyncRoutingBackend with its SegmentBackend, which a worker runs in a task for each event."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.event_tracking_celery import tracker
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """The app finds its broker in the environment."""
    yield Emitter(emit=partial(tracker.emit, NAME), bind=partial(tracker.enter_context, "request"))
