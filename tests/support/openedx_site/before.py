"""Settings of the site as it was: event-tracking with the platform's tree of backends."""

from __future__ import annotations

import os

SECRET_KEY = "x"
INSTALLED_APPS = ["eventtracking.django"]
USE_TZ = True
EVENT_TRACKING_ENABLED = True
EVENT_TRACKING_PROCESSORS: list[object] = []
_ROUTING = "eventtracking.backends.routing.RoutingBackend"
_HERE = "tests.support.openedx_site.processors"
EVENT_TRACKING_BACKENDS = {
    "tracking_logs": {
        "ENGINE": _ROUTING,
        "OPTIONS": {
            "backends": {
                "logger": {
                    "ENGINE": "eventtracking.backends.logger.LoggerBackend",
                    "OPTIONS": {"name": "tracking", "max_event_size": 50_000},
                }
            },
            "processors": [{"ENGINE": f"{_HERE}.ToLogLine"}],
        },
    },
    "segmentio": {
        "ENGINE": _ROUTING,
        "OPTIONS": {
            "backends": {"segment": {"ENGINE": "eventtracking.backends.segment.SegmentBackend"}},
            "processors": [
                {
                    "ENGINE": "eventtracking.processors.whitelist.NameWhitelistProcessor",
                    "OPTIONS": {"whitelist": ["edx.course.enrollment.activated", "edx.bi.clicked"]},
                },
                {"ENGINE": f"{_HERE}.ForSegment"},
            ],
        },
    },
}
LOGGING = {
    "version": 1,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": os.environ.get("EDX_LOG", os.devnull)}},
    "loggers": {"tracking": {"handlers": ["file"], "level": "INFO", "propagate": False}},
}
