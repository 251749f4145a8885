"""Meta's Conversions API: events from the server for the ad reporting of Facebook and Instagram."""

from dispatcher.tasks.destinations.meta_conversions.destination import MetaConversions

__all__ = ["MetaConversions"]
