"""Settings of the site once it has moved over and left event-tracking: a line more, and ours under its name."""

from dispatcher.contrib.eventtracking import install

install()

from tests.support.openedx_site.after import *  # noqa: E402, F403
