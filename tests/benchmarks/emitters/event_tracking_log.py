"""event-tracking's tracker with its LoggerBackend, and a logger that writes to a file at once, as edX's does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from eventtracking.backends.logger import LoggerBackend  # type: ignore[import-untyped]
from eventtracking.tracker import Tracker  # type: ignore[import-untyped]

from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """Without its limit of 1,024 characters, beyond which it silently drops events."""
    logger = logging.getLogger("tracking")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(logging.FileHandler(place.log))
    tracker = Tracker({"logger": LoggerBackend(name="tracking", max_event_size=None)})
    yield Emitter(
        emit=partial(tracker.emit, NAME),
        bind=partial(tracker.enter_context, "request"),
        unbind=partial(tracker.exit_context, "request"),
    )
