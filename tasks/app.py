"""The Celery app: its options, a queue and a task for each destination, and the bell of each worker."""

from __future__ import annotations

from celery import Celery, signals
from kombu.entity import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

from dispatcher import config
from dispatcher.batches import BatchStore
from dispatcher.redis_pool import RedisPool, kombu_url
from tasks.bell import Bell
from tasks.delivery import Delivery
from tasks.destinations import build_destinations

# Seconds that one call to the batch store may take, from a worker, which can wait.
_STORE_TIMEOUT_SECONDS = 5.0


def make_app(settings: config.Settings) -> Celery:
    """A Celery app for the settings. Connects to nothing yet.

    Raises:
        SettingsError: A destination's own options are wrong; all such mistakes are named at once.
    """
    destinations = build_destinations(settings)
    app = Celery("tasks", broker=kombu_url(settings.broker), set_as_current=False)
    uses_redis = settings.broker == settings.store
    if uses_redis:
        # Not by broker_transport: with it kombu forgets TLS for rediss://, and for redis+socket:// it does not heed it.
        TRANSPORT_ALIASES.update(redis="tasks.transport:Transport", rediss="tasks.transport:Transport")
    app.conf.update(
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in destinations],
        task_default_queue=next(iter(destinations), "celery"),
        task_create_missing_queues=False,
        accept_content=["json"],
        # The truth is in the batch store, so a message is acknowledged once its batch is settled or parked; where the
        # worker dies before, the lease runs out and the bell rings again.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        result_backend=None,
        worker_prefetch_multiplier=1,
        worker_pool=settings.worker.pool,
        worker_concurrency=settings.worker.concurrency,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        worker_soft_shutdown_timeout=10.0,
    )
    if uses_redis:
        app.conf.broker_transport_options = {
            # Seconds after which kombu delivers again what was taken and not acknowledged: well above every lease.
            "visibility_timeout": 600,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "unacked_restore_limit": 500,
            # Without these a half-open connection holds up the worker for good.
            "socket_timeout": 5,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 5,
            "priority_steps": [0],
        }
    store = BatchStore(RedisPool(settings.store, timeout_seconds=_STORE_TIMEOUT_SECONDS))
    for name, build in destinations.items():
        app.register_task(Delivery(store, name, settings.destinations[name], build))
    return app


def _start_bell(sender: object, **_: object) -> None:
    bell.start()


def _stop_bell(sender: object, **_: object) -> None:
    bell.stop()


_settings = config.load()
app = make_app(_settings)
bell = Bell(app, _settings)

signals.worker_ready.connect(_start_bell, weak=False)
signals.worker_shutting_down.connect(_stop_bell, weak=False)
