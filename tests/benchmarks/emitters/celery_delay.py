"""A Celery task for each event, sent with delay() to Redis by Celery's default producer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from celery import Task

from tests.benchmarks.emitters.base import Emitter
from tests.benchmarks.place import Place
from tests.benchmarks.plain_celery import append
from tests.benchmarks.sample import NAME


@contextmanager
def opened(place: Place, task: Task = append) -> Iterator[Emitter]:
    """The app finds its broker in the environment.

    Args:
        place: Not needed.
        task: What each event is sent to.
    """
    context: dict[str, Any] = {}

    def bind(bound: dict[str, Any]) -> None:
        nonlocal context
        context = bound

    def emit(data: dict[str, Any]) -> None:
        task.delay({"name": NAME, "timestamp": datetime.now(UTC).isoformat(), "event": data, "context": context})

    yield Emitter(emit=emit, bind=bind)
