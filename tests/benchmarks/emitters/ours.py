"""dispatcher's tracker, with its relay in a thread of the emitting process, as by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from dispatcher import tracker
from dispatcher.emit.context import enter_context, exit_context
from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME

# Seconds that the relay may take to put the events.
_FLUSH_SECONDS = 60.0


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """Reads its settings from the environment."""
    tracker.configure()
    default = tracker.get_tracker()
    yield Emitter(
        emit=partial(tracker.emit, NAME),
        settle=partial(tracker.flush, _FLUSH_SECONDS),
        dropped=lambda: default.refused,
        bind=partial(enter_context, "request"),
        unbind=partial(exit_context, "request"),
    )
    default.close()
