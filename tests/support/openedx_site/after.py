"""Settings of the site once it has moved over: one backend, and event-tracking's tracker in front of it as before."""

from tests.support.openedx_site.before import *  # noqa: F403

EVENT_TRACKING_BACKENDS = {"dispatcher": {"ENGINE": "dispatcher.contrib.eventtracking.DispatcherBackend"}}
