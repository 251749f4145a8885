"""Apps: what happens once as Django starts."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from django.apps import AppConfig


class EventTrackingConfig(AppConfig):
    """Registers the default tracker, and what the event bus and a Celery worker call."""

    name = "eventtracking.django"
    label = "eventtracking_django"

    def ready(self) -> None:
        """Called by Django once all apps are there. Raises what ``DjangoTracker`` does."""
        from dispatcher.contrib.eventtracking.django.django_tracker import override_default_tracker  # noqa: PLC0415

        override_default_tracker()
        if find_spec("openedx_events") is not None:
            from dispatcher.contrib.eventtracking import handlers  # noqa: F401, PLC0415
        if "celery" in sys.modules:
            # A worker may get tasks that were put before the site moved over, also where no backend needs the task now.
            from dispatcher.contrib.eventtracking import tasks  # noqa: F401, PLC0415
