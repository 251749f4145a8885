"""The tracker: ``tracker.emit`` and what belongs to it. Nothing that it does waits for a network or another process."""

from dispatcher.emit.context import context, enter_context, exit_context
from dispatcher.tracker.default import configure, emit, flush, get_tracker, set_tracker
from dispatcher.tracker.page_reference import page_reference
from dispatcher.tracker.tracker import Tracker

__all__ = [  # noqa: RUF022 - grouped by subject
    # Emitting
    "emit",
    "flush",
    # The context of events
    "context",
    "enter_context",
    "exit_context",
    # Pages
    "page_reference",
    # Setting up
    "configure",
    "Tracker",
    "get_tracker",
    "set_tracker",
]
