"""Reports: what needs a person, in Sentry: an issue for each cause and not one for each event."""

from dispatcher.monitoring.sentry.errors import delivery_failed, part_ended, worker_lost
from dispatcher.monitoring.sentry.outbox_watch import OutboxWatch
from dispatcher.monitoring.sentry.report import Report, active_client, send
from dispatcher.monitoring.sentry.start import start

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
