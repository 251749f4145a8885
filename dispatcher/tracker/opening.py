"""Opening: the outbox of a process, as the settings and OpenTelemetry's variables want it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dispatcher.monitoring.otel.variables import read_otel
from dispatcher.outbox import Outbox

if TYPE_CHECKING:
    from dispatcher.config import Settings


def open_outbox(settings: Settings, *, ids_repeat: bool) -> Outbox:
    """Make the outbox of this process.

    Args:
        settings: Where it is and what it may hold.
        ids_repeat: As ``Tracker`` has it. Events of clients get no trace here: the relay looks for their source at the
            very end of the context, and their requests are the collector's and not the app's.

    Raises:
        OutboxError: Its directory cannot be made or written to.
    """
    outbox_class = Outbox
    if not ids_repeat and read_otel(os.environ).carries_traces:
        from dispatcher.tracker.traced_outbox import TracedOutbox  # noqa: PLC0415 - no app without traces needs it

        outbox_class = TracedOutbox
    outbox = outbox_class(
        settings.outbox_directory,
        journal_bytes=settings.outbox.journal_bytes,
        max_bytes=settings.outbox.max_bytes,
        sync_seconds=settings.outbox.sync_seconds,
    )
    outbox.state.ids_repeat = ids_repeat
    return outbox
