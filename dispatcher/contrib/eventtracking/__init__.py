"""event-tracking: a backend for its tracker, and a drop-in for the whole package (https://github.com/openedx/event-tracking).

An Open edX site moves over by its settings alone, with event-tracking's tracker in front as before:

    EVENT_TRACKING_BACKENDS = {"dispatcher": {"ENGINE": "dispatcher.contrib.eventtracking.DispatcherBackend"}}

Or without event-tracking: after ``install()`` every ``import eventtracking`` gets the modules of this package, which
have the names, arguments and results of its version 4.0 (docs/how-to/event-tracking.md).
"""

from dispatcher.contrib.eventtracking.alias import install
from dispatcher.contrib.eventtracking.dispatcher_backend import DispatcherBackend

__all__ = ["DispatcherBackend", "install"]

#: Of the API that is served.
__version__ = "4.0.2"
