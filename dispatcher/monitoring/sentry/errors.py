"""Errors: what ended a delivery, a thread or a process is reported by type and stack, once in an interval each."""

from __future__ import annotations

import logging
from typing import Final

from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.sentry.limiter import Limiter
from dispatcher.monitoring.sentry.report import Report, active_client, send

#: Where what ends a task, a thread or a worker is logged with its traceback.
LOGGERS: Final = ("celery", "dispatcher", "tasks", "multiprocessing")

# Outages, which show in breaker, outbox and ledger: a Redis that does not answer, the network, a full disk.
_OUTAGES: Final = (StoreUnavailableError, OSError)
# What billiard logs when a child of the prefork pool has died.
_CHILD_ENDED: Final = "Process %r pid:%r exited with %r"
# What the supervisor says of a process that ended well.
_ENDED_WELL: Final = "exit code 0"
# Seconds to send a report before the process ends.
_FLUSH_SECONDS: Final = 2.0

limiter: Final = Limiter(60.0)


def report_failed_delivery(destination: str, error: BaseException) -> None:
    """Report what a destination raised: a mistake in its code, since an outage comes as an outcome.

    Does nothing without Sentry. Safe in threads; does not block.
    """
    if not isinstance(error, _OUTAGES):
        _report_error(
            Report(
                kind="delivery-failed",
                title=f"The destination {destination} raised an error that it should have made an outcome of",
                about={"destination": destination, "error": type(error).__qualname__},
                error=error,
            )
        )


def report_lost_worker(destination: str) -> None:
    """Report that a batch had been claimed before and was never settled. Safe in threads; does not block."""
    _report_error(
        Report(
            kind="worker-lost",
            level="warning",
            title=f"A worker that held a batch for {destination} was killed, hung, or lost Redis",
            about={"destination": destination},
        )
    )


def report_ended_process(name: str, how: str) -> None:
    """Report that a process has ended by itself, and that the caller starts it again. Does not block.

    Args:
        name: The part it played, such as worker.
        how: Its signal or exit code, in the supervisor's words; an end with exit code 0 is not reported.
    """
    if how == _ENDED_WELL:
        return
    _report_error(
        Report(
            kind="crash",
            title=f"The process {name} ended with {how} and is started again",
            level="fatal",
            about={"part": name, "how": how},
        )
    )


class CrashHandler(logging.Handler):
    """Reports what is logged as critical, or as an error with its traceback. The text of a record is not sent."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Report the record, if it is a crash. Blocks for up to two seconds if it is critical."""
        try:
            self._report(record)
        except Exception:
            self.handleError(record)

    def _report(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        ends_process = record.levelno >= logging.CRITICAL
        if record.msg == _CHILD_ENDED:
            _report_error(Report(kind="crash", title="A child of a worker died", level="fatal"))
        elif ends_process or (isinstance(error, Exception) and not isinstance(error, _OUTAGES)):
            about = {"logger": record.name, "error": "none" if error is None else type(error).__qualname__}
            _report_error(Report(kind="crash", title=f"{record.name} failed", level="fatal", about=about, error=error))
        if ends_process and (client := active_client()) is not None:
            # The process ends after such a record, and perhaps at once.
            client.flush(timeout=_FLUSH_SECONDS)


def _report_error(report: Report) -> None:
    if active_client() is None:
        return
    times = limiter.admit(tuple(report.fingerprint))
    if times:
        send(
            Report(
                kind=report.kind,
                title=report.title,
                level=report.level,
                about=report.about,
                facts={"times": times},
                error=report.error,
            )
        )
