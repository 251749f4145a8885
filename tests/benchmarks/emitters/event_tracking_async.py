"""event-tracking's AsyncRoutingBackend: a Celery task for each event, through Redis. Nothing takes the tasks here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import django  # type: ignore[import-untyped]
from celery import Celery
from django.conf import settings  # type: ignore[import-untyped]

from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import Place
from tests.benchmarks.sample import NAME


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """Celery's default producer."""
    if not settings.configured:
        settings.configure(USE_TZ=True, INSTALLED_APPS=[])
        django.setup()
    Celery("peer", broker=place.broker_url, set_as_current=True).set_default()
    # After the app is made, since its task joins the current app; it also needs Django's settings.
    from eventtracking.backends.async_routing import AsyncRoutingBackend  # type: ignore[import-untyped]
    from eventtracking.backends.logger import LoggerBackend  # type: ignore[import-untyped]
    from eventtracking.tracker import Tracker, register_tracker  # type: ignore[import-untyped]

    nested = {"logger": LoggerBackend(name="tracking", max_event_size=None)}
    tracker = Tracker({"all": AsyncRoutingBackend(backends=nested, backend_name="all")})
    register_tracker(tracker)
    yield Emitter(
        emit=partial(tracker.emit, NAME),
        bind=partial(tracker.enter_context, "request"),
        unbind=partial(tracker.exit_context, "request"),
    )
