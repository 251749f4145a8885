"""Producer: a Celery app that only sends, for doorbells that do not go over the Redis of the batch store."""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from dispatcher.connections.redis_pool import kombu_options
from dispatcher.connections.urls import broker_tls, is_amqp, kombu_url, missing_for
from dispatcher.process.inheritance import abandon_socket, release_after_fork

if TYPE_CHECKING:
    from celery import Celery

    from dispatcher.config import Settings

logger = logging.getLogger(__name__)


def make_producer(settings: Settings) -> Celery | None:
    """Make a Celery app for ``doorbell.send``, which gives up after ``relay.timeout_seconds``. Connects to nothing yet.

    Safe in threads. After a fork the child connects anew, and leaves its parent's connections alone.

    Returns:
        The app; None where the broker is the store's Redis, in which Redis commands ring.
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
        # The app sends no heartbeats while nothing rings, and the broker would hang up.
        broker_heartbeat=0,
        task_ignore_result=True,
    )
    release_after_fork(app, _leave_connections)
    return app


def load_celery(settings: Settings) -> None:
    """Import all that ringing through Celery needs, which takes a quarter of a second. Connects to nothing.

    For a process that may fork: a child that is forked while another thread imports waits for ever for that import.
    What is missing for it is logged and no reason not to emit: the workers' bell rings for what this process puts.
    """
    missing = missing_for(settings.broker)
    if missing:
        logger.error("no doorbell can be sent from here, so the workers' bell rings, seconds later: %s", missing)
        return
    # kombu looks for this package at each connection to AMQP. If it is missing, each look takes the import's lock,
    # which a child that is forked meanwhile would never get; known to be missing, it is not looked for.
    if "librabbitmq" not in sys.modules and find_spec("librabbitmq") is None:
        sys.modules["librabbitmq"] = None  # type: ignore[assignment]
    app = make_producer(settings)
    if app is None:
        return
    import celery.result  # noqa: PLC0415
    import kombu.serialization  # noqa: PLC0415

    app.finalize()
    # A message is made and thrown away, since the first one imports more.
    message = app.amqp.as_task_v2("", "", args=[""], argsrepr="", kwargsrepr="{}")
    kombu.serialization.dumps(message.body, serializer="json")  # type: ignore[no-untyped-call]
    app.events.Dispatcher(enabled=False)
    celery.result.AsyncResult("", app=app)
    assert app.connection_for_write().transport is not None


def _leave_connections(app: Celery) -> None:
    # kombu's pools belong to the whole process, and notice only the forks of multiprocessing. Without this, the child
    # would ring on the parent's connection, in the middle of what the parent writes to it.
    from kombu import pools  # noqa: PLC0415

    producers = app.amqp._producer_pool
    if producers is None:  # it never rang
        return
    for group in (pools.producers, pools.connections):
        for key, pool in list(group.items()):
            if pool is producers or pool is producers.connections:
                dict.pop(group, key)
    for connection in (*producers.connections._dirty, *producers.connections._resource.queue):
        # A Redis transport has no socket here, but a pool of connections, which redis-py itself makes anew.
        abandon_socket(getattr(getattr(connection, "_connection", None), "sock", None))


def _transport_options(url: str, timeout: float) -> dict[str, Any]:
    options: dict[str, Any] = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    if is_amqp(url):
        # A broker that is short of memory or disk accepts connections, but no longer reads from them.
        return options | {"read_timeout": timeout, "write_timeout": timeout}
    options |= {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    return options | kombu_options(url, timeout_seconds=timeout)
