"""A Celery task for each event, which posts it to Segment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import Place
from tests.benchmarks.plain_celery import post_event
from tests.benchmarks.sample import NAME


@contextmanager
def opened(place: Place) -> Iterator[Emitter]:
    """The app finds its broker in the environment."""
    context: dict[str, Any] = {}

    def bind(bound: dict[str, Any]) -> None:
        nonlocal context
        context = bound

    def emit(data: dict[str, Any]) -> None:
        post_event.delay({"name": NAME, "timestamp": datetime.now(UTC).isoformat(), "event": data, "context": context})

    yield Emitter(emit=emit, bind=bind)
