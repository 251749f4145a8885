"""Delivered: how many lines the ledger has of a tracking log, for exports of that log to be held against."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import DispatcherError
from dispatcher.find.in_logs import log_files
from dispatcher.store.batches import BatchStore

if TYPE_CHECKING:
    from dispatcher.config import Settings

# Seconds for the answer of a Redis: without it, the export is not held against anything.
_TIMEOUT_SECONDS: Final = 2.0


def delivered_to(logs: Sequence[Path | Any]) -> int | None:
    """How many events workers have delivered to the tracking log that is among some logs. Blocks for two seconds.

    Args:
        logs: Files, and objects of buckets, of which nothing is known.

    Returns:
        None where the settings' log is not among them, or Redis does not answer.
    """
    settings = config.load()
    if (name := _destination_of(settings, {log.resolve() for log in logs if isinstance(log, Path)})) is None:
        return None
    try:
        with closing(RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)) as pool:
            return BatchStore(pool).counts([name])[name].delivered
    except DispatcherError:
        return None


def _destination_of(settings: Settings, logs: set[Path]) -> str | None:
    for name, table in settings.served_destinations.items():
        log = table.traits.log
        if log is None or not (path := table.options.get(log)):
            continue
        try:
            files = log_files(settings.state_directory / str(path))
        except OSError:
            continue
        if not logs.isdisjoint(file.resolve() for file in files):
            return name
    return None
