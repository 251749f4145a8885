"""Routes: which path goes to which route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dispatcher.collector.edx.event import EventRoute
from dispatcher.collector.edx.mobile import MobileRoute
from dispatcher.collector.page.events import EventsRoute
from dispatcher.collector.route import Route
from dispatcher.collector.script import ScriptRoute
from dispatcher.collector.segment_api import pixel, project_settings
from dispatcher.collector.segment_api.calls import PATHS, CallsRoute

if TYPE_CHECKING:
    from dispatcher.collector.handover import HandoverRoute
    from dispatcher.config.collector import CollectorSettings


class Routes:
    """All routes, found by one look into a dict, and by a few prefixes where a path holds more than a name.

    Args:
        settings: Some paths are settings.
        handover: Answers pages that take events which only they can hand over; None where no destination has such.
        secret: What makes the names of visitors' mailboxes.
    """

    def __init__(self, settings: CollectorSettings, handover: HandoverRoute | None = None, secret: bytes = b"") -> None:
        #: By path.
        self.exact: Final[dict[str, Route]] = {
            **{path: CallsRoute(call_type) for path, call_type in PATHS.items()},
            "/v1/m": pixel.MetricsRoute(),
            settings.events_path: EventsRoute(settings, secret),
            settings.edx_path: EventRoute(),
            settings.mobile_path: MobileRoute(settings),
        }
        #: Those that wait for something before they answer.
        self.waits: Final = frozenset({settings.handover_path} if handover is not None else ())
        if handover is not None:
            self.exact[settings.handover_path] = handover
        #: Those whose events say who the user is.
        self.asks_user: Final = frozenset({settings.events_path, settings.edx_path})
        #: By the beginning of a path; the longest first.
        self.prefixes: Final[list[tuple[str, Route]]] = [
            (project_settings.PREFIX, project_settings.ProjectSettingsRoute()),
            (pixel.PREFIX, pixel.PixelRoute()),
        ]
        self._script = ScriptRoute(settings)

    def find(self, path: str) -> Route | None:
        """The route of a path; None where the path is unknown."""
        route = self.exact.get(path)
        if route is not None:
            return route
        for prefix, candidate in self.prefixes:
            if path.startswith(prefix):
                return candidate
        return self._script if self._script.has(path) else None
