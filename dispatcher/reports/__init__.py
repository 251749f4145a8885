"""Reports: what needs a person, in Sentry: an issue for each cause and not one for each event."""

from dispatcher.reports.errors import delivery_failed, part_ended, worker_lost
from dispatcher.reports.outbox_watch import OutboxWatch
from dispatcher.reports.report import Report, active_client, send
from dispatcher.reports.start import start

__all__ = [  # noqa: RUF022 - grouped by subject
    # Starting, in a process of dispatcher's own
    "start",
    # What is reported
    "Report",
    "send",
    "active_client",
    "delivery_failed",
    "worker_lost",
    "part_ended",
    "OutboxWatch",
]
