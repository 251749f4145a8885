"""Does the broker, which carries the doorbells, answer? If it is a Redis, ``redis_server`` has checked it already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from dispatcher.config import mask_url
from dispatcher.connections.redis_pool import kombu_options
from dispatcher.connections.urls import is_local, is_redis, kombu_url
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import StoreUnavailableError

if TYPE_CHECKING:
    from celery import Celery

#: Seconds to connect.
TIMEOUT_SECONDS: Final = 2.0

REACHABLE: Final = Check(
    "broker.reachable",
    "Whether the Celery broker takes connections.",
    "start it, or set DISPATCHER_BROKER_URL to one that this machine can reach; events wait in the batch store",
)
ENCRYPTION: Final = Check(
    "broker.encryption",
    "Whether the connection to a broker other than Redis is encrypted.",
    "use amqps://, or a network that nobody else can listen on: messages only name batches, but the login goes with "
    "them",
)

CHECKS: Final = (REACHABLE, ENCRYPTION)


def check(deployment: Deployment) -> Iterator[Finding]:
    """Connect to the broker, and send nothing."""
    broker = deployment.settings.broker
    if is_redis(broker):
        yield REACHABLE.skipped("Redis carries the doorbells, see redis.reachable")
        return
    problem = unreachable(deployment)
    if problem is not None:
        yield REACHABLE.error(f"{mask_url(broker)} does not answer: {problem}")
    else:
        yield REACHABLE.ok(f"{mask_url(broker)} answers")
    yield encryption(broker)


def unreachable(deployment: Deployment) -> str | None:
    """Why the broker cannot be used; None if it can. Blocks for a few seconds at most."""
    broker = deployment.settings.broker
    if is_redis(broker):
        try:
            deployment.pool(broker).execute("PING")
        except StoreUnavailableError as error:
            return str(error)
        return None
    app = asking_app(broker)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=TIMEOUT_SECONDS)
    except Exception as error:  # each transport has its own errors
        return mask_url(f"{type(error).__name__}: {error}".rstrip(": "))
    finally:
        app.close()
    return None


def asking_app(broker: str, *, answer_seconds: float = 0.0) -> Celery:
    """A Celery app that only asks questions, and gives up soon. Close it afterwards.

    Args:
        broker: Its URL.
        answer_seconds: How long it may wait for an answer.
    """
    # Not at the top of the file: it takes a quarter of a second, which other commands do without.
    from dispatcher.connections.celery_app import CeleryApp  # noqa: PLC0415

    app = CeleryApp("dispatcher-doctor", broker=kombu_url(broker))
    options: dict[str, Any] = {"max_retries": 0, "interval_start": 0, "interval_step": 0, "interval_max": 0}
    if is_redis(broker):
        options |= {"socket_timeout": TIMEOUT_SECONDS + answer_seconds, "socket_connect_timeout": TIMEOUT_SECONDS}
        options |= kombu_options(broker, timeout_seconds=TIMEOUT_SECONDS)
    app.conf.update(
        broker_connection_timeout=TIMEOUT_SECONDS,
        broker_transport_options=options,
        task_ignore_result=True,
    )
    return app


def encryption(broker: str) -> Finding:
    """Whether the login to a broker other than Redis is encrypted on its way."""
    parts = urlsplit(broker.partition(";")[0])
    if parts.scheme in ("amqps", "sqs") or is_local(parts.hostname):
        return ENCRYPTION.ok("encrypted, or on this machine")
    return ENCRYPTION.warning(f"the login goes to {parts.hostname} unencrypted")
