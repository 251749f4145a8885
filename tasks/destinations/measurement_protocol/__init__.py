"""The Measurement Protocol of Google Analytics 4, which Google Analytics, Firebase and Tag Manager's servers speak."""

from dispatcher.tasks.destinations.measurement_protocol.destination import (
    MeasurementProtocol,
    MeasurementProtocolOptions,
)
from dispatcher.tasks.destinations.measurement_protocol.hit import Hit
from dispatcher.tasks.destinations.measurement_protocol.validation import ValidatedMeasurementProtocol, ValidatedOptions

__all__ = [
    "Hit",
    "MeasurementProtocol",
    "MeasurementProtocolOptions",
    "ValidatedMeasurementProtocol",
    "ValidatedOptions",
]
