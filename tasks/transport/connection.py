"""Connection: kombu's, which tries to reach a broker every two seconds at least, however long that has been away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import connection

# Seconds between two tries to connect: kombu's own grow to thirty.
_FIRST_SECONDS: Final = 0.2
_STEP_SECONDS: Final = 0.4
_MAX_SECONDS: Final = 2.0


class Connection(connection.Connection):
    """The connection of workers and Flower, for any broker."""

    def ensure_connection(
        self,
        errback: Callable[..., object] | None = None,
        max_retries: int | None = None,
        interval_start: float = _FIRST_SECONDS,
        interval_step: float = _STEP_SECONDS,
        interval_max: float = _MAX_SECONDS,
        **options: Any,
    ) -> connection.Connection:
        """As kombu's, with other defaults. Blocks until it is connected, or ``max_retries`` tries have failed."""
        connected: connection.Connection = super().ensure_connection(
            errback, max_retries, interval_start, interval_step, interval_max, **options
        )
        return connected

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
        # With that default Celery sends its heartbeats, from the worker's loop: while the broker is silent, the worker
        # would notice neither that nor SIGTERM. Celery keeps what it cannot send.
        ensured: Callable[..., Any] = super().ensure(
            obj, fun, errback, max_retries, interval_start, interval_step, interval_max, on_revive, retry_errors
        )
        return ensured


class Amqp(AMQP):
    """Has Celery make our connections."""

    Connection = Connection
