"""Destinations: the names that people give to the levers, also while a settings file has a mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import SettingsError
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.waiting_batches import scan_destinations

# Seconds for one answer of Redis.
_TIMEOUT_SECONDS: Final = 5.0


def connect_for(names: Sequence[str]) -> RedisPool:
    """The Redis of the batch store, once it is known that all these are destinations for which something may wait.

    While the settings cannot be used, their mistakes are printed, and every destination counts that Redis knows: a
    mistake in a file is no reason to let a receiver be overrun.

    Args:
        names: As they were given.

    Raises:
        SettingsError: One is unknown, or no worker ever delivers to it; or the settings do not say where Redis is.
        StoreUnavailableError: Redis does not answer.
    """
    known: list[str] = []
    try:
        settings = config.load()
        known = list(settings.destinations)
    except SettingsError as error:
        settings = config.rescue(error)
        for problem in error.problems:
            click.echo(f"settings: {problem}", err=True)
    pool = RedisPool(settings.store, timeout_seconds=_TIMEOUT_SECONDS)
    if not set(names) <= set(known):
        known = [name for name in dict.fromkeys([*known, *scan_destinations(pool)]) if name != NOT_TAKEN]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingsError(
            [f"unknown destination {name!r}; workers deliver to {', '.join(known) or 'none'}" for name in unknown]
        )
    return pool
