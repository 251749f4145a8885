"""The tracker: ``tracker.emit`` and what belongs to it. Nothing that it does waits for a network or another process."""

from dispatcher.tracker.tracker import (
    Tracker,
    configure,
    context,
    emit,
    enter_context,
    exit_context,
    flush,
    get_tracker,
    set_tracker,
)

__all__ = [
    "Tracker",
    "configure",
    "context",
    "emit",
    "enter_context",
    "exit_context",
    "flush",
    "get_tracker",
    "set_tracker",
]
