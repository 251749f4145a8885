"""dispatcher: ``tracker.emit`` never waits, and what it took is delivered to every destination or can be shown."""

from dispatcher import context, segment, tracker
from dispatcher.errors import (
    DispatcherError,
    DropEvent,
    EventTooLargeError,
    InvalidEventError,
    NotEncodableError,
    OutboxError,
    OutboxFullError,
    ProcessorError,
    SettingsError,
    StoreUnavailableError,
)
from dispatcher.event import Event
from dispatcher.tracker import Tracker, configure, emit, flush, page_reference
from dispatcher.version import __version__ as __version__

__all__ = [  # noqa: RUF022 - grouped by subject
    # Emitting. The function stands before the room of that name, which only dispatcher's own code enters.
    "emit",
    "tracker",
    "segment",
    "context",
    "Tracker",
    "Event",
    # Pages
    "page_reference",
    # Setting up and winding up
    "configure",
    "flush",
    # Processors
    "DropEvent",
    # Errors
    "DispatcherError",
    "EventTooLargeError",
    "InvalidEventError",
    "NotEncodableError",
    "OutboxError",
    "OutboxFullError",
    "ProcessorError",
    "SettingsError",
    "StoreUnavailableError",
]
