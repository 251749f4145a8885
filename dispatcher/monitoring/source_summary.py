"""SourceSummary: what an operator sees of one source of the collector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.monitoring.intake import Intake


@dataclass(frozen=True, slots=True)
class Client:
    """A version of tracker.js whose requests a source had.

    Args:
        version: As it says itself; "other" for what cannot be a version, and for all beyond a few.
        requests: How many.
        last_seen_ms: When the last one came, in milliseconds since 1970.
    """

    version: str
    requests: int
    last_seen_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSummary:
    """One source, as the collectors of this machine counted it.

    Args:
        name: Of its table.
        is_known: Whether the settings have it; what was counted stays.
        accepted: Events taken.
        rejected_by_reason: Items of batches that were not taken.
        refused_by_reason: Requests of which nothing was taken.
        dropped_by_reason: Events that its pages had to drop.
        duplicates: Events that had come before, by the relays of the whole site; None where Redis did not say.
        last_seen_ms: When events were taken last, in milliseconds since 1970; None for never.
        clients: Versions of tracker.js, the latest first.
    """

    name: str
    is_known: bool
    accepted: int = 0
    rejected_by_reason: Mapping[str, int] = field(default_factory=dict)
    refused_by_reason: Mapping[str, int] = field(default_factory=dict)
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    duplicates: int | None = None
    last_seen_ms: int | None = None
    clients: tuple[Client, ...] = ()

    @property
    def rejected(self) -> int:
        """Items of batches that were not taken."""
        return sum(self.rejected_by_reason.values())

    @property
    def refused(self) -> int:
        """Requests of which nothing was taken."""
        return sum(self.refused_by_reason.values())

    @property
    def dropped(self) -> int:
        """Events that its pages had to drop."""
        return sum(self.dropped_by_reason.values())


def summarize(
    intake: Intake, sources: Iterable[str], duplicates: Mapping[str, int] | None = None
) -> list[SourceSummary]:
    """All sources, those of the settings first, then others that were counted.

    Args:
        intake: What was counted.
        sources: The names in the settings.
        duplicates: By source; None where that is not known.
    """
    known = list(sources)
    counted = {*intake.accepted, *(source for source, _ in intake.rejected), *intake.last_seen}
    counted |= {source for source, _ in intake.refused_by_source}
    found = []
    for name in (*known, *sorted(counted - set(known))):
        clients = [
            Client(version, number, _ms(intake.client_last_seen.get((source, version))))
            for (source, version), number in intake.clients.items()
            if source == name
        ]
        found.append(
            SourceSummary(
                name=name,
                is_known=name in known,
                accepted=intake.accepted[name],
                rejected_by_reason=_of(intake.rejected, name),
                refused_by_reason=_of(intake.refused_by_source, name),
                dropped_by_reason=_of(intake.dropped, name),
                duplicates=None if duplicates is None else duplicates.get(name, 0),
                last_seen_ms=_ms(intake.last_seen.get(name)),
                clients=tuple(sorted(clients, key=lambda client: (-(client.last_seen_ms or 0), client.version))),
            )
        )
    return found


def _of(counts: Mapping[tuple[str, str], int], name: str) -> dict[str, int]:
    return {reason: number for (source, reason), number in counts.items() if source == name}


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
