"""Settings of the site with ours in place of event-tracking, and the platform's tree of backends as it was."""

from dispatcher.contrib.eventtracking import install

install()

from tests.support.openedx_site.before import *  # noqa: E402, F403
