"""Event bus: events as signals of openedx-events, which its bus carries to other services."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings

from dispatcher.contrib.eventtracking.backends.logger import DateTimeJSONEncoder
from dispatcher.contrib.eventtracking.backends.routing import Processor, RoutingBackend
from dispatcher.contrib.eventtracking.config import SEND_TRACKING_EVENT_EMITTED_SIGNAL
from dispatcher.secrecy.safe_text import one_line

try:
    from openedx_events.analytics.data import TrackingLogData
    from openedx_events.analytics.signals import TRACKING_EVENT_EMITTED
except ImportError as error:
    raise ImportError(
        "EventBusRoutingBackend needs the package openedx-events: install it, or take the backend out of "
        "EVENT_TRACKING_BACKENDS",
        name="openedx_events",
    ) from error

logger = logging.getLogger(__name__)


class EventBusRoutingBackend(RoutingBackend):
    """Sends events to the bus. Its processors and backends are run where the bus brings them (``handlers``).

    Args:
        processors: As in RoutingBackend.
        backends: As in RoutingBackend.
        backend_name: Its name in the settings.
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

    def send(self, event: Mapping[str, Any]) -> None:
        """Send an event that ``EVENT_BUS_TRACKING_LOGS`` lists, where the signal is on. Blocks as the bus does."""
        name, timestamp = event.get("name"), event.get("timestamp")
        if not SEND_TRACKING_EVENT_EMITTED_SIGNAL.is_enabled():
            return
        if name not in getattr(settings, "EVENT_BUS_TRACKING_LOGS", ()):
            return
        TRACKING_EVENT_EMITTED.send_event(
            tracking_log=TrackingLogData(
                name=name,
                timestamp=datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp,
                data=json.dumps(event.get("data"), cls=DateTimeJSONEncoder),
                context=json.dumps(event.get("context"), cls=DateTimeJSONEncoder),
            )
        )
        logger.info("the event bus has %s", one_line(str(name), 80))
