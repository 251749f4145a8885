"""Object storage: the tracking log's lines as compressed objects by day and hour, in a bucket or a directory."""

from dispatcher.tasks.destinations.object_storage.destination import ObjectStorage

__all__ = ["ObjectStorage"]
