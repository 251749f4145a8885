"""Ledger line: where the events are, of all destinations that have had some, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.monitoring.ledger import Ledger


def ledger_line(ledger: Ledger) -> str:
    """As in "segment 96 delivered, 4 waiting · tracking_log 100 delivered"; empty before the first event."""
    return " · ".join(
        f"{name} {counts.delivered:,} delivered"
        + (f", {counts.waiting:,} waiting" if counts.waiting else "")
        + (f", {counts.dead:,} dead" if counts.dead else "")
        for name, counts in ledger.destinations.items()
        if counts.delivered or counts.waiting or counts.dead
    )
