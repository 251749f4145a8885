"""Async routing: a router whose backends run in a Celery worker of the site, a task for each event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dispatcher.contrib.eventtracking.backends.routing import Processor, RoutingBackend
from dispatcher.contrib.eventtracking.processors.exceptions import EventEmissionExit
from dispatcher.contrib.eventtracking.tasks import send_event


class AsyncRoutingBackend(RoutingBackend):
    """Runs its processors here, and its backends in a worker. Belongs at the root of the default tracker's backends.

    An event waits for the broker of the site, and is lost while that is away: dispatcher's own backend does neither.

    Args:
        processors: As in RoutingBackend.
        backends: As in RoutingBackend.
        backend_name: Its name at the root, by which the worker finds it.
    """

    leaves_event_alone = True

    def __init__(
        self,
        processors: Iterable[Processor] | None = None,
        backends: Mapping[str, Any] | None = None,
        backend_name: str = "",
    ) -> None:
        self.backend_name = backend_name
        super().__init__(processors=processors, backends=backends)

    def send(self, event: Any) -> None:
        """Hand an event to a worker. The caller's event stays as it is.

        Blocks until the broker has it. Raises what Celery does if the broker does not take it, at once.
        """
        try:
            processed = self.process_copy(event)
        except EventEmissionExit:
            return
        send_event.delay(self.backend_name, processed)
