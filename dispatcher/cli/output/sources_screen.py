"""Sources screen: what came over HTTP, by source, and what was refused; a part of ``dispatcher status``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from dispatcher.monitoring.units import duration_text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dispatcher.monitoring.snapshot import Snapshot

# Lines of what was refused, the most frequent first.
_SHOWN_REFUSALS: Final = 5
_HEADINGS: Final = ("accepted", "rejected", "refused", "duplicates", "dropped", "last seen")


def sources_screen(snapshot: Snapshot) -> Iterator[RenderableType]:
    """A table with a line for each source, and a line for each reason; nothing on a machine without sources.

    Args:
        snapshot: Its ``intake`` and its sources.
    """
    if snapshot.intake_problem:
        yield Text(f"not shown: {snapshot.intake_problem}", style="yellow")
    sources = snapshot.source_summaries()
    if not sources or snapshot.intake is None:
        return
    table = Table(title="Events over HTTP", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_edge, table.padding = False, (0, 1, 0, 0)
    table.add_column("source", style="bold", overflow="fold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for source in sources:
        seen = source.last_seen_ms
        numbers = (source.accepted, source.rejected, source.refused, source.duplicates, source.dropped)
        table.add_row(
            source.name if source.is_known else Text(f"{source.name}, gone", style="dim"),
            *(Text("-", style="dim") if not number else f"{number:,}" for number in numbers),
            Text("never", style="yellow") if seen is None else duration_text(snapshot.at - seen / 1000),
        )
    yield Text()
    yield table
    for source in sources:
        for what, reasons in (("rejected", source.rejected_by_reason), ("refused", source.refused_by_reason)):
            ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
            if ordered:
                listed = ", ".join(f"{reason} {number:,}" for reason, number in ordered)
                yield Text.assemble((source.name, "bold"), f" {what}: ", (listed, "dim"))
        if source.clients:
            shown = ", ".join(client.version for client in source.clients)
            yield Text.assemble((source.name, "bold"), ": tracker.js ", (shown, "dim"))
    recent = snapshot.intake.recent_refusals(snapshot.at)
    for code, origin, number in recent[:_SHOWN_REFUSALS]:
        yield Text.assemble((code, "bold"), ": ", (f"{number:,} refused in the last hour from {origin}", "yellow"))
    if len(recent) > _SHOWN_REFUSALS:
        yield Text(f"and {len(recent) - _SHOWN_REFUSALS} more: dispatcher status --json", style="dim")
    yield Text()
