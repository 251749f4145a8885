"""Meta's Conversions API: events for Facebook's and Instagram's ad reporting, from the server."""

from dispatcher.tasks.destinations.meta_conversions.destination import MetaConversions

__all__ = ["MetaConversions"]
