"""``dispatcher worker``: a Celery worker with sensible options."""

from __future__ import annotations

import os
import sys

import click

from dispatcher import config
from dispatcher.errors import SettingsError

# Doorbells in hand for each greenlet. With gevent Celery looks for more every two seconds only, once it has all that it
# may have; elsewhere one is best, and what tasks.app sets.
_GEVENT_PREFETCH = "50"


def worker_arguments(
    *, queues: str | None, concurrency: int | None, pool: str, loglevel: str, events: bool, name: str | None
) -> list[str]:
    """The command line of the Celery worker."""
    # Celery's gossip and mingle talk to every other worker and serve nothing here; heartbeats stay, for Flower.
    arguments = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--without-gossip", "--without-mingle"]
    arguments += ["--loglevel", loglevel]
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
def worker(
    queues: str | None, concurrency: int | None, pool: str | None, loglevel: str, events: bool, name: str | None
) -> None:
    """Deliver events: run a Celery worker until SIGTERM, which lets it finish what it has begun.

    \b
    Examples:
      dispatcher worker                              one worker for every destination
      dispatcher worker -Q tracking_log -c 1         one for the tracking log only
      dispatcher worker -Q segment -c 16             sixteen requests at a time to Segment
    """
    settings = config.load()
    _check_queues(queues, settings)
    arguments = worker_arguments(
        queues=queues,
        concurrency=concurrency,
        pool=pool or settings.worker.pool,
        loglevel=loglevel,
        events=events,
        name=name,
    )
    os.execv(sys.executable, arguments)  # noqa: S606 - the process becomes the worker, so that signals reach it


def _check_queues(queues: str | None, settings: config.Settings) -> None:
    known = [name for name, table in settings.destinations.items() if table.enabled]
    unknown = [name for name in (queues or "").split(",") if name and name not in known]
    if unknown:
        raise SettingsError(
            [f"there is no destination {name!r}; the enabled ones are {', '.join(known)}" for name in unknown]
        )
