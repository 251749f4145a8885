"""Producer: a Celery that only sends, where the doorbells do not go over the Redis of the batch store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.connections.redis_pool import kombu_options
from dispatcher.connections.urls import broker_tls, is_amqp, kombu_url
from dispatcher.process.inheritance import abandon_socket, release_after_fork

if TYPE_CHECKING:
    from celery import Celery

    from dispatcher.config import Settings


def make_producer(settings: Settings) -> Celery | None:
    """A Celery for ``doorbell.send``, which gives up after ``relay.timeout_seconds``; None where Redis commands ring.

    Connects to nothing yet.
    """
    if settings.broker == settings.store:
        return None
    from dispatcher.connections.celery_app import CeleryApp  # noqa: PLC0415 - most web processes never need it

    app = CeleryApp("dispatcher-producer", broker=kombu_url(settings.broker))
    timeout = settings.relay.timeout_seconds
    app.conf.update(
        task_publish_retry=False,
        task_publish_retry_policy={"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0},
        broker_connection_timeout=timeout,
        broker_use_ssl=broker_tls(settings.broker),
        broker_transport_options=_transport_options(settings.broker, timeout),
        # Nobody would send heartbeats while there is nothing to ring for, and the broker would hang up.
        broker_heartbeat=0,
        task_ignore_result=True,
    )
    release_after_fork(app, _leave_connections)
    return app


def load_celery(settings: Settings) -> None:
    """Import whatever ringing through Celery takes, which is much. Connects to nothing.

    For a process that may fork: a child that was forked while another thread imported would wait for that for ever.
    """
    app = make_producer(settings)
    if app is None:
        return
    import celery.result  # noqa: PLC0415
    import kombu.serialization  # noqa: PLC0415

    app.finalize()
    # Built, and thrown away: what a first ring would import on the way.
    message = app.amqp.as_task_v2("", "", args=[""], argsrepr="", kwargsrepr="{}")
    kombu.serialization.dumps(message.body, serializer="json")  # type: ignore[no-untyped-call]
    app.events.Dispatcher(enabled=False)
    celery.result.AsyncResult("", app=app)
    assert app.connection_for_write().transport is not None


def _leave_connections(app: Celery) -> None:
    # kombu's pools are the whole process's, and know of no fork but multiprocessing's: else the child would ring on the
    # parent's connection, in the middle of what the parent writes to it.
    from kombu import pools  # noqa: PLC0415

    producers = app.amqp._producer_pool
    if producers is None:  # it never rang
        return
    for group in (pools.producers, pools.connections):
        for key, pool in list(group.items()):
            if pool is producers or pool is producers.connections:
                dict.pop(group, key)
    for connection in (*producers.connections._dirty, *producers.connections._resource.queue):
        # Of a pool of Redis connections, which redis-py itself makes anew, there is no such thing as the one socket.
        abandon_socket(getattr(getattr(connection, "_connection", None), "sock", None))


def _transport_options(url: str, timeout: float) -> dict[str, Any]:
    options: dict[str, Any] = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    if is_amqp(url):
        # A broker that is short of memory or disk takes connections and reads no more from them.
        return options | {"read_timeout": timeout, "write_timeout": timeout}
    options |= {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    return options | kombu_options(url, timeout_seconds=timeout)
