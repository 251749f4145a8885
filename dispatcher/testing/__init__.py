"""For an app's own tests: emit into memory, and look at what was emitted. Needs no Redis, no settings and no disk."""

from dispatcher.testing.browser import BrowserEvents, capture_browser
from dispatcher.testing.capture import Captured, capture
from dispatcher.testing.case import EmittedEventsMixin

__all__ = ["BrowserEvents", "Captured", "EmittedEventsMixin", "capture", "capture_browser"]
