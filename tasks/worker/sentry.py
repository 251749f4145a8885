"""Sentry in a worker: when it starts, watches the ledger, and sends what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery import signals

from dispatcher.monitoring.sentry.ledger_watch import LedgerWatch
from dispatcher.monitoring.sentry.report import active_client
from dispatcher.monitoring.sentry.start import start_sentry

if TYPE_CHECKING:
    from dispatcher.config import Settings

# Seconds that a child of the prefork pool, which ends without Python's exit handlers, takes to send what is left.
_FLUSH_SECONDS = 2.0


class WorkerSentry:
    """The Sentry of one worker. It starts with the worker: other users of the app, such as Flower, report nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watch: LedgerWatch | None = None

    def connect(self) -> None:
        """Have Celery call the methods below. Does nothing else, so it may be called anywhere."""
        signals.celeryd_init.connect(self._start, weak=False)
        signals.worker_ready.connect(self._look, weak=False)
        signals.worker_shutting_down.connect(self._stop, weak=False)
        signals.worker_process_shutdown.connect(self._flush, weak=False)

    def _start(self, **_: object) -> None:
        # Before the pool forks, so that its children report too.
        if start_sentry(self._settings, role="worker"):
            self._watch = LedgerWatch(self._settings)

    def _look(self, **_: object) -> None:
        if self._watch is not None:
            self._watch.start()

    def _stop(self, **_: object) -> None:
        if self._watch is not None:
            self._watch.stop()

    def _flush(self, **_: object) -> None:
        client = active_client()
        if client is not None:
            client.flush(timeout=_FLUSH_SECONDS)
