"""Django tracker: a tracker whose backends and processors Django's settings name.

The names of the settings, and their form, are those of event-tracking: a dict with ``ENGINE``, the path of a class, and
``OPTIONS``, its arguments, stands for an object of that class, at any depth.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from django.conf import settings

from dispatcher.contrib.eventtracking import tracker
from dispatcher.contrib.eventtracking.locator import ThreadLocalContextLocator
from dispatcher.contrib.eventtracking.tracker import Tracker
from dispatcher.secrecy.safe_text import one_line

DJANGO_BACKEND_SETTING_NAME: Final = "EVENT_TRACKING_BACKENDS"
DJANGO_PROCESSOR_SETTING_NAME: Final = "EVENT_TRACKING_PROCESSORS"
DJANGO_ENABLED_SETTING_NAME: Final = "EVENT_TRACKING_ENABLED"


class DjangoTracker(Tracker):
    """A tracker as settings say. Its contexts are those that dispatcher has bound in the thread, task or greenlet.

    Args:
        backends_settings_name: The setting with the backends; without it events go to dispatcher.
        processors_settings_name: The setting with the processors.

    Raises:
        ValueError: A class cannot be found, or is not what it should be; the text says where in the settings.
    """

    def __init__(
        self,
        backends_settings_name: str = DJANGO_BACKEND_SETTING_NAME,
        processors_settings_name: str = DJANGO_PROCESSOR_SETTING_NAME,
    ) -> None:
        super().__init__(
            self.create_backends_from_settings(backends_settings_name),
            ThreadLocalContextLocator(),
            self.create_processors_from_settings(processors_settings_name),
        )

    def create_backends_from_settings(self, settings_name: str) -> Any:
        """The backends by name; None where the setting is missing."""
        return _instantiate(settings_name, getattr(settings, settings_name, None))

    def create_processors_from_settings(self, settings_name: str) -> Any:
        """The processors in their order."""
        return _instantiate(settings_name, getattr(settings, settings_name, []))


def _instantiate(place: str, node: Any) -> Any:
    """The node of a setting, with an object for each dict that has an ENGINE."""
    if isinstance(node, dict):
        if "ENGINE" not in node:
            return {key: _instantiate(f"{place}[{one_line(repr(key), 80)}]", value) for key, value in node.items()}
        options = _instantiate(f"{place}['OPTIONS']", node.get("OPTIONS", {}))
        return _find_class(place, node["ENGINE"])(**options)
    if isinstance(node, list):
        return [_instantiate(f"{place}[{number}]", one) for number, one in enumerate(node)]
    return node


def _find_class(place: str, path: Any) -> Any:
    module, _, name = str(path).rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ValueError, AttributeError, TypeError, ImportError) as error:
        raise ValueError(
            f"{place}['ENGINE']: {one_line(repr(path), 200)} cannot be imported ({one_line(str(error), 300)}): give "
            "the whole path, such as 'eventtracking.backends.logger.LoggerBackend'"
        ) from error


def override_default_tracker() -> None:
    """Register a ``DjangoTracker`` as the default tracker where ``EVENT_TRACKING_ENABLED`` is true.

    Where it is not, a tracker that was registered stays; without one, events go nowhere.

    Raises:
        ValueError: As ``DjangoTracker``.
    """
    if getattr(settings, DJANGO_ENABLED_SETTING_NAME, False):
        tracker.register_tracker(DjangoTracker())
    else:
        tracker.TRACKERS.setdefault(tracker.DEFAULT_TRACKER_NAME, Tracker({}, ThreadLocalContextLocator()))
