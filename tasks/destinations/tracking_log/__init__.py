"""The tracking log: edX's line format in a file that several workers append to."""

from dispatcher.tasks.destinations.tracking_log.destination import TrackingLog, TrackingLogOptions

__all__ = ["TrackingLog", "TrackingLogOptions"]
