"""The default tracker: what ``tracker.emit`` and ``segment.track`` use, and what a fork and an exit do with it."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dispatcher.tracker.tracker import Tracker, used_trackers

if TYPE_CHECKING:
    from dispatcher.config import Settings

_default = Tracker()


def get_tracker() -> Tracker:
    """The default tracker, which ``tracker.emit`` and ``segment.track`` use."""
    return _default


def set_tracker(tracker: Tracker) -> Tracker:
    """Make ``tracker`` the default one; returns the one before it, still open."""
    global _default
    before, _default = _default, tracker
    return before


def known_settings() -> Settings | None:
    """Those that the default tracker was given or has read; None before its first event where it was given none."""
    return _default._settings


def emit(name: str, data: Mapping[str, Any] | None = None) -> str:
    """Record that something happened, with the default tracker. See ``Tracker.emit``."""
    return _default.emit(name, data)


def configure(settings: Settings | None = None, **overrides: Any) -> Settings:
    """Set the default tracker up in code. Call it once, where the app starts, before the first event.

    Without it, the settings files and the environment are read at the first event. The default tracker before it is
    closed, which blocks for up to ``outbox.exit_flush_seconds`` if that one has taken events.

    Args:
        settings: From ``dispatcher.config.load``; None reads the files and the environment.
        overrides: Settings that win over both, such as ``broker_url="redis://…"`` or ``outbox={"directory": "…"}``;
            ``outbox__directory="…"`` is the same.

    Returns:
        The settings in force.

    Raises:
        SettingsError: Settings are missing or wrong; all of them are named at once.
        TypeError: Both settings and overrides were given.
    """
    from dispatcher import config  # noqa: PLC0415
    from dispatcher.emit import processors  # noqa: PLC0415

    if settings is None:
        settings = config.load(overrides=overrides)
    elif overrides:
        raise TypeError(f"give either settings or overrides ({', '.join(overrides)}), not both")
    processors.load(settings.processors)
    if settings.relay.mode == "thread" and settings.outbox.storage == "disk":
        # Here rather than during the first request.
        import dispatcher.relay.thread  # noqa: F401, PLC0415
        from dispatcher.store.celery_producer import load_celery  # noqa: PLC0415

        load_celery(settings)
    set_tracker(Tracker(settings)).close()
    return settings


def flush(timeout: float = 5.0) -> bool:
    """Wait until what the default tracker took is in the batch store. See ``Tracker.flush``."""
    return _default.flush(timeout)


# The lock that is held during a fork, for the parent to release.
_held: Final[list[threading.RLock]] = []


def _before_fork() -> None:
    # Another thread may be opening the outbox, and importing modules for it: in the child that would never end.
    lock = _default._lock
    lock.acquire()
    _held.append(lock)


def _after_fork_in_parent() -> None:
    _held.pop().release()


def _after_fork() -> None:
    _held.clear()
    for tracker in {_default, *used_trackers}:
        tracker.after_fork()


def _at_exit() -> None:
    _default.close()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
atexit.register(_at_exit)
