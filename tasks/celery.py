"""The Celery app: its options, a queue and a task for each destination, and the bell of each worker."""

from __future__ import annotations

import faulthandler
import logging
import sys
import warnings

import billiard.pool
from celery import signals
from celery.exceptions import CPendingDeprecationWarning
from kombu.entity import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES

import dispatcher.tasks.worker.remote_control  # noqa: F401 - workers answer what it registers
from dispatcher import config
from dispatcher.connections.celery_app import CeleryApp
from dispatcher.connections.redis_pool import RedisPool, kombu_options
from dispatcher.connections.urls import broker_tls, kombu_url
from dispatcher.destinations.build import build_destinations
from dispatcher.live.tap import Tap
from dispatcher.local.supervisor import STACKS
from dispatcher.process import heartbeat
from dispatcher.receipts.writer import ReceiptWriter
from dispatcher.secrecy.log_lines import guard_handlers
from dispatcher.store.batches import BatchStore
from dispatcher.suppression.suppression_list import suppression_list
from dispatcher.tasks.delivery.task import Delivery
from dispatcher.tasks.transport import Amqp, serves
from dispatcher.tasks.worker import otel
from dispatcher.tasks.worker.bell import Bell
from dispatcher.tasks.worker.consumer import refuse_compressed
from dispatcher.tasks.worker.filing import Filing
from dispatcher.tasks.worker.presence import Presence
from dispatcher.tasks.worker.sentry import WorkerSentry
from dispatcher.tasks.worker.shutdown import Shutdown
from dispatcher.tasks.worker.watchdog import Watchdog

# Tenths of a second that an ending pool process waits until its parent has read all of its results. Sometimes the last
# ones are never read. No result is needed here, and billiard's half minute would outlast the worker's own shutdown.
billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20

# Seconds that the batch store has to answer a worker, which can wait.
_STORE_TIMEOUT_SECONDS = 5.0
# Seconds that a worker has to finish what it has begun after it was told to stop.
_STOP_SECONDS = 10.0


def make_app(settings: config.Settings) -> CeleryApp:
    """A Celery app for the settings, with a queue and a task for each destination. Connects to nothing yet.

    Raises:
        SettingsError: A destination's own options are wrong; all such mistakes are named at once.
    """
    destinations = build_destinations(settings)
    app = CeleryApp("dispatcher.tasks", broker=kombu_url(settings.broker), amqp=Amqp)
    app.conf.update(
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in destinations],
        task_default_queue=next(iter(destinations), "celery"),
        task_create_missing_queues=False,
        worker_consumer="dispatcher.tasks.worker.consumer:Consumer",
        accept_content=["json"],
        # The batch store has the truth, so a message is acknowledged once its batch is settled or parked. A worker that
        # is stopped before gives it back; for one that dies, the bell rings again.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_pool=settings.worker.pool,
        worker_concurrency=settings.worker.concurrency,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,
        worker_soft_shutdown_timeout=_STOP_SECONDS,
        # After a reconnection Celery would take fewer messages for a while, since those in hand may come twice. Ours
        # find nothing to do the second time.
        worker_enable_prefetch_count_reduction=False,
        broker_use_ssl=broker_tls(settings.broker),
    )
    refuse_compressed()
    if serves(kombu_url(settings.broker)):
        _use_transport(app, settings)
    pool = RedisPool(settings.store, timeout_seconds=_STORE_TIMEOUT_SECONDS)
    store, tap = BatchStore(pool), Tap(pool, is_on=settings.is_debug)
    kept = settings.receipts
    receipts = ReceiptWriter(
        settings.receipts_directory, max_bytes=kept.max_bytes, max_age_seconds=kept.max_age_seconds
    )
    suppressed = suppression_list(settings.state_directory)
    for name, build in destinations.items():
        rings_here = settings.broker == settings.store
        table = settings.destinations[name]
        delivery = Delivery(
            store, name, table, build, rings_here=rings_here, tap=tap, receipts=receipts, suppressed=suppressed
        )
        if settings.worker.pool == "prefork":
            # The parent ends a child whose interpreter is held, with SIGKILL. After twice the lease another worker has
            # taken the batch over, as for a delivery that hangs elsewhere (tasks/worker/watchdog.py).
            delivery.time_limit = 2 * table.lease_seconds
        app.register_task(delivery)
    return app


def _use_transport(app: CeleryApp, settings: config.Settings) -> None:
    # Not by broker_transport: with it kombu forgets TLS for rediss://, and ignores it for redis+socket://.
    TRANSPORT_ALIASES.update(
        redis="dispatcher.tasks.transport:Transport",
        rediss="dispatcher.tasks.transport:Transport",
        sentinel="dispatcher.tasks.transport.sentinel:SentinelTransport",
    )
    app.conf.broker_transport_options = {
        # Without these a half-open connection blocks the worker for good.
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 5,
        "priority_steps": [0],
        **kombu_options(settings.broker, timeout_seconds=_STORE_TIMEOUT_SECONDS),
    }


def _on_logging(logger: logging.Logger, **_: object) -> None:
    guard_handlers(logger)


def _on_ready(sender: object, **_: object) -> None:
    # At every reconnection Celery warns at length that its version 6 will end deliveries then unless it is told not to,
    # as it is above. Set here, since Celery sets its own filters after the import of this module.
    warnings.filterwarnings("ignore", r"\s*In Celery 5\.1 we introduced", CPendingDeprecationWarning)
    # On this signal the stacks are written even while no Python can run: the supervisor asks for them then.
    faulthandler.register(STACKS, file=sys.__stderr__ or 2, all_threads=True, chain=False)
    heartbeat.start()
    bell.start()
    filing.start()
    watchdog.start()
    presence.start(str(getattr(sender, "hostname", "") or "a worker"))
    shutdown.prepare()


def _on_stopping(sender: object, **_: object) -> None:
    bell.stop()
    filing.stop()
    watchdog.stop()
    presence.stop()
    shutdown.begin()


_settings = config.load()
app = make_app(_settings)
bell = Bell(app, _settings)
filing = Filing(_settings)
watchdog = Watchdog(_settings)
presence = Presence(app, _settings)
shutdown = Shutdown(_STOP_SECONDS)

WorkerSentry(_settings).connect()
otel.connect()
signals.after_setup_logger.connect(_on_logging, weak=False)
signals.after_setup_task_logger.connect(_on_logging, weak=False)
signals.worker_ready.connect(_on_ready, weak=False)
signals.worker_shutting_down.connect(_on_stopping, weak=False)
