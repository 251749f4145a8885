"""Handlers: events that the event bus brings, handed to the backends of each EventBusRoutingBackend."""

from __future__ import annotations

import json
import logging
from typing import Any

from django.dispatch import receiver
from openedx_events.analytics.signals import TRACKING_EVENT_EMITTED
from openedx_events.tooling import SIGNAL_PROCESSED_FROM_EVENT_BUS

from dispatcher.contrib.eventtracking.backends.event_bus import EventBusRoutingBackend
from dispatcher.contrib.eventtracking.processors.exceptions import EventEmissionExit
from dispatcher.contrib.eventtracking.tracker import get_tracker
from dispatcher.secrecy.safe_text import one_line

logger = logging.getLogger(__name__)


@receiver(TRACKING_EVENT_EMITTED)  # type: ignore[untyped-decorator]
def send_tracking_log_to_backends(sender: Any, signal: Any, **kwargs: Any) -> None:
    """Take an event from the bus. One that was sent in this process stays out: it went its ways as it was emitted.

    Args:
        sender: Nothing reads it.
        signal: Nothing reads it.
        kwargs: ``tracking_log``, and whether the bus has brought it.
    """
    if not kwargs.get(SIGNAL_PROCESSED_FROM_EVENT_BUS, False):
        logger.debug("an event of this process, which the bus did not bring")
        return
    log = kwargs["tracking_log"]
    event = {
        "name": log.name,
        "timestamp": log.timestamp,
        "data": json.loads(log.data),
        "context": json.loads(log.context),
    }
    for router in get_tracker().backends.values():
        if not isinstance(router, EventBusRoutingBackend):
            continue
        try:
            router.send_to_backends(router.process_copy(event))
        except EventEmissionExit:
            logger.info("a processor of %s dropped %s", one_line(router.backend_name, 80), one_line(log.name, 80))
