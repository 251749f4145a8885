"""event-routing-backends: its transformers make xAPI statements or Caliper events, which go to an LRS in batches."""

from dispatcher.tasks.destinations.event_routing_backends.destination import EventRoutingBackends

__all__ = ["EventRoutingBackends"]
