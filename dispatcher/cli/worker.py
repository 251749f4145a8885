"""``dispatcher worker``: a Celery worker with sensible options, started again when it ends."""

from __future__ import annotations

import os
import sys

import click
from redis.exceptions import ClusterCrossSlotError

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.urls import NO_BROKER, is_redis, missing_for
from dispatcher.destinations.options import check_options
from dispatcher.errors import SettingsError, StoreUnavailableError
from dispatcher.installation import launch
from dispatcher.store.keys import NONE

# Doorbells in hand for each greenlet. With gevent Celery looks for more every two seconds only, once it has all that it
# may have; elsewhere one is best, and what dispatcher.tasks.celery sets.
_GEVENT_PREFETCH = "50"
# Seconds between two heartbeats for Flower, which takes a worker for gone after twice that. Celery's own two would be
# a quarter of what a worker at rest asks of Redis.
_HEARTBEAT_SECONDS = "5"
# Seconds in which a broker has to say what it is, before the worker starts without knowing.
_ASK_SECONDS = 1.0


def worker_arguments(
    *, queues: str | None, concurrency: int | None, pool: str, loglevel: str, events: bool, name: str | None
) -> list[str]:
    """The command line of the Celery worker."""
    # Celery's gossip and mingle talk to every other worker and serve nothing here; heartbeats stay, for Flower.
    arguments = launch.command(launch.WORKER, "worker", "--without-gossip", "--without-mingle", "--loglevel", loglevel)
    arguments += ["--heartbeat-interval", _HEARTBEAT_SECONDS]
    if queues:
        arguments += ["--queues", queues]
    if concurrency is not None:
        arguments += ["--concurrency", str(concurrency)]
    # Always, although the settings have it too: for gevent Celery has to know before it imports anything.
    arguments += ["--pool", pool]
    if pool == "gevent":
        arguments += ["--prefetch-multiplier", _GEVENT_PREFETCH]
    if events:
        arguments.append("--task-events")
    if name is not None:
        arguments += ["--hostname", name]
    return arguments


@click.command()
@click.option("-Q", "--queues", help="Destinations to serve, separated by commas. All by default.")
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Deliveries at a time [worker.concurrency].")
@click.option(
    "-P", "--pool", type=click.Choice(["threads", "prefork", "solo", "gevent"]), help="Celery's pool [worker.pool]."
)
@click.option("-l", "--loglevel", default="INFO", show_default=True, help="As Celery's.")
@click.option("-E", "--events", is_flag=True, help="Send task events for Flower. Flower turns them on by itself.")
@click.option("-n", "--name", help="The worker's name, when several run on one host: log@%h.")
@click.option("--no-restart", is_flag=True, help="Become the Celery process itself, for a system that restarts it.")
def worker(
    queues: str | None,
    concurrency: int | None,
    pool: str | None,
    loglevel: str,
    events: bool,
    name: str | None,
    no_restart: bool,
) -> None:
    """Deliver events: run a Celery worker until SIGTERM, which lets it finish what it has begun, for ten seconds.

    A worker that dies, that takes nothing any more although Redis answers, or whose interpreter is held, is started
    again.

    \b
    Examples:
      dispatcher worker                              one worker for every destination
      dispatcher worker -Q tracking_log -c 1         one for the tracking log only
      dispatcher worker -Q segment -c 16             sixteen requests at a time to Segment
      dispatcher worker --no-restart                 one process, where something else restarts it
    """
    loaded = config.read()
    settings = loaded.settings
    _check_queues(queues, settings)
    problems = check_options(settings, loaded.source)
    if problems:
        raise SettingsError(problems)
    refuse_cluster(settings)
    missing = missing_for(settings.broker)
    if missing:
        raise SettingsError([f"DISPATCHER_BROKER_URL: {missing}"])
    pool = pool or settings.worker.pool
    arguments = worker_arguments(
        queues=queues, concurrency=concurrency, pool=pool, loglevel=loglevel, events=events, name=name
    )
    # Celery takes "--pool prefork" for its default, and reads the settings then.
    environ = {**os.environ, "DISPATCHER_WORKER__POOL": pool}
    if not no_restart:
        # A program of its own, which needs a fifth of the memory of this one.
        silent = f"--silent-seconds={settings.worker.silent_seconds:g}"
        arguments = launch.command("dispatcher.local.worker_supervisor", silent, *arguments)
    os.execve(sys.executable, arguments, environ)  # noqa: S606 - the process stays, so that signals reach it


def refuse_cluster(settings: config.Settings) -> None:
    """Refuse a broker that is part of a Redis Cluster, which Celery would only show by errors without end.

    Asks it, for two seconds at most; one that does not answer is waited for by the worker.

    Raises:
        SettingsError: It is; says what to set.
    """
    if not is_redis(settings.broker):
        return
    pool = RedisPool(settings.broker, timeout_seconds=_ASK_SECONDS)
    try:
        # A question that every Redis answers, that a worker's user may ask, and that a cluster refuses.
        pool.execute("EXISTS", *map(NONE.of, "ab"))
    except StoreUnavailableError as error:
        in_cluster = isinstance(error.__cause__, ClusterCrossSlotError)
    else:
        in_cluster = False
    finally:
        pool.close()
    if in_cluster:
        variable = "DISPATCHER_BROKER_URL"
        raise SettingsError([f"{variable} names {pool.url}, which is part of a Redis Cluster: {NO_BROKER}"])


def _check_queues(queues: str | None, settings: config.Settings) -> None:
    known = list(settings.served_destinations)
    unknown = [name for name in (queues or "").split(",") if name and name not in known]
    if unknown:
        raise SettingsError(
            [f"unknown destination {name!r}; the enabled ones are {', '.join(known)}" for name in unknown]
        )
