"""The tracking log: a file in edX's line format that several workers append to."""

from dispatcher.tasks.destinations.tracking_log.destination import TrackingLog, TrackingLogOptions

__all__ = ["TrackingLog", "TrackingLogOptions"]
