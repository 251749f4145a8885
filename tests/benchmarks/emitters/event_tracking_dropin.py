"""event-tracking's ``tracker.emit`` as the drop-in serves it: into dispatcher's outbox, with its relay in a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from dispatcher import tracker as ours
from dispatcher.contrib.eventtracking import tracker
from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME

# Seconds that the relay may take to put the events.
_FLUSH_SECONDS = 60.0


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """Reads its settings from the environment."""
    ours.configure()
    default = ours.get_tracker()
    yield Emitter(
        emit=partial(tracker.emit, NAME),
        settle=partial(ours.flush, _FLUSH_SECONDS),
        dropped=lambda: default.refused,
        bind=partial(tracker.get_tracker().enter_context, "request"),
    )
    default.close()
