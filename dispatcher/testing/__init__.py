"""For an app's own tests: emit into memory, and look at what was emitted. Needs no Redis, no settings and no disk."""

from dispatcher.testing.capture import Captured, capture
from dispatcher.testing.case import EmittedEventsMixin

__all__ = ["Captured", "EmittedEventsMixin", "capture"]
