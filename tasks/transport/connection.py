"""Connection: kombu's, which looks for a broker that is away every other second, however long it has been away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import connection

# Seconds between two tries to connect: kombu's own grow to thirty.
_FIRST_SECONDS: Final = 0.2
_STEP_SECONDS: Final = 0.4
_LONGEST_SECONDS: Final = 2.0


class Connection(connection.Connection):
    """What workers and Flower connect with, whatever the broker."""

    def ensure_connection(
        self,
        errback: Callable[..., object] | None = None,
        max_retries: int | None = None,
        interval_start: float = _FIRST_SECONDS,
        interval_step: float = _STEP_SECONDS,
        interval_max: float = _LONGEST_SECONDS,
        **options: Any,
    ) -> connection.Connection:
        """As kombu's, with other defaults. Blocks until there is a connection, or ``max_retries`` tries have failed."""
        found: connection.Connection = super().ensure_connection(
            errback, max_retries, interval_start, interval_step, interval_max, **options
        )
        return found

    def ensure(
        self,
        obj: Any,
        fun: Callable[..., Any],
        errback: Callable[..., object] | None = None,
        max_retries: int | None = 0,
        interval_start: float = 1,
        interval_step: float = 1,
        interval_max: float = 1,
        on_revive: Callable[..., object] | None = None,
        retry_errors: tuple[type[Exception], ...] | None = None,
    ) -> Callable[..., Any]:
        """As kombu's, which by default tries for ever."""
        # Celery sends its heartbeats with that default, from the worker's loop: while the broker is silent, it would
        # neither notice that nor SIGTERM. What it cannot send it keeps.
        ensured: Callable[..., Any] = super().ensure(
            obj, fun, errback, max_retries, interval_start, interval_step, interval_max, on_revive, retry_errors
        )
        return ensured


class Amqp(AMQP):
    """Has Celery make our connections."""

    Connection = Connection
