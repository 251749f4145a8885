"""Connection: kombu's, which tries to reach a broker every two seconds at least, however long that has been away."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

from celery.app.amqp import AMQP
from kombu import connection

from dispatcher.secrecy import masking

# Seconds between two tries to connect: kombu's own grow to thirty.
_FIRST_SECONDS: Final = 0.2
_STEP_SECONDS: Final = 0.4
_MAX_SECONDS: Final = 2.0
_URI_FIELDS: Final = itemgetter("port", "userid", "password", "virtual_host", "transport")


class Connection(connection.Connection):
    """The connection of workers and Flower, for any broker.

    Overrides, of kombu 5.7: info, as_uri, ensure_connection, ensure. Uses: _info.
    """

    def info(self) -> dict[str, Any]:
        """What Flower's page of a worker and ``inspect stats`` show, with credentials masked.

        kombu leaves out the password of ``redis://`` alone: that of a socket stands in its host, those of sentinels in
        the options.
        """
        shown: dict[str, Any] = masking.mask("", super().info())
        return shown

    def as_uri(self, include_password: bool = False, mask: str = masking.MASK, getfields: Any = None) -> str:
        """The URL, for logs and for Flower's page of the broker; with its password only if that is asked for."""
        # kombu would take the fields from ``info``, where they are masked.
        uri: str = super().as_uri(
            include_password, mask, getfields or (lambda _masked: _URI_FIELDS(dict(self._info())))
        )
        return uri if include_password else masking.mask_url(uri)

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
