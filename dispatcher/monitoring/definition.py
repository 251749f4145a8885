"""Definition: a metric's name and meaning, and how its values are read from a snapshot.

There are four kinds: of the whole site or of each destination, with one value or with one for each value of a label.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from dispatcher.monitoring.snapshot import Snapshot
from dispatcher.store.counts import NOT_TAKEN, Counts

#: The values of the labels, in order, and the value of the metric.
Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination in a snapshot, as a metric reads it."""

    name: str
    counts: Counts
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Definition(ABC):
    """One metric.

    Args:
        name: With its unit; a counter's ends in ``_total``.
        type: Prometheus' type.
        help: One sentence, which is also in the reference.
    """

    name: str
    type: Literal["counter", "gauge"]
    help: str

    @property
    @abstractmethod
    def labels(self) -> tuple[str, ...]:
        """The names of the labels."""

    @abstractmethod
    def samples(self, snapshot: Snapshot) -> Iterator[Sample]:
        """The values in a snapshot."""


@dataclass(frozen=True, slots=True)
class SiteMetric(Definition):
    """One value for the whole site. The metric is absent if ``value`` is None."""

    value: Callable[[Snapshot], float | None]

    @property
    def labels(self) -> tuple[str, ...]:
        """None."""
        return ()

    def samples(self, snapshot: Snapshot) -> Iterator[Sample]:
        """The one value."""
        value = self.value(snapshot)
        if value is not None:
            yield (), value


@dataclass(frozen=True, slots=True)
class SiteMetricByLabel(Definition):
    """Values for the whole site, one for each value of a label."""

    label: str
    values: Callable[[Snapshot], Mapping[str, float]]

    @property
    def labels(self) -> tuple[str, ...]:
        """The one label."""
        return (self.label,)

    def samples(self, snapshot: Snapshot) -> Iterator[Sample]:
        """A value for each value of the label."""
        for label, value in self.values(snapshot).items():
            yield (label,), value


@dataclass(frozen=True, slots=True)
class DestinationMetric(Definition):
    """One value for each destination. A destination is left out if its ``value`` is None.

    Args:
        value: Reads it.
        with_emit: Whether the events that emit could not take have a value too, as the destination "emit".
    """

    value: Callable[[Destination], float | None]
    with_emit: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The destination."""
        return ("destination",)

    def samples(self, snapshot: Snapshot) -> Iterator[Sample]:
        """A value for each destination."""
        for destination in _destinations(snapshot, with_emit=self.with_emit):
            value = self.value(destination)
            if value is not None:
                yield (destination.name,), value


@dataclass(frozen=True, slots=True)
class DestinationMetricByLabel(Definition):
    """Values for each destination, one for each value of a label.

    Args:
        label: The label beside the destination.
        values: Reads them.
        with_emit: Whether the events that emit could not take have values too, as the destination "emit".
    """

    label: str
    values: Callable[[Destination], Mapping[str, float]]
    with_emit: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """The destination and the label."""
        return ("destination", self.label)

    def samples(self, snapshot: Snapshot) -> Iterator[Sample]:
        """Values for each destination."""
        for destination in _destinations(snapshot, with_emit=self.with_emit):
            for label, value in self.values(destination).items():
                yield (destination.name, label), value


def _destinations(snapshot: Snapshot, *, with_emit: bool) -> Iterator[Destination]:
    for name, counts in snapshot.destinations.items():
        if with_emit or name != NOT_TAKEN:
            yield Destination(name, counts, snapshot)
