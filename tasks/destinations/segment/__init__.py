"""Segment: sends events and direct calls as messages of its HTTP Tracking API, in requests to its batch endpoint."""

from dispatcher.tasks.destinations.segment.destination import (
    MAX_MESSAGE_BYTES,
    MAX_REQUEST_BYTES,
    MAX_REQUEST_MESSAGES,
    Segment,
    SegmentOptions,
)
from dispatcher.tasks.destinations.segment.message import LIBRARY, to_message

__all__ = [
    "LIBRARY",
    "MAX_MESSAGE_BYTES",
    "MAX_REQUEST_BYTES",
    "MAX_REQUEST_MESSAGES",
    "Segment",
    "SegmentOptions",
    "to_message",
]
