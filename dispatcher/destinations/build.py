"""Builds destinations from their settings: for workers, which deliver, and for previews."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from dispatcher.config.collector_secret import read_secret
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.destinations.base import Destination, Options
from dispatcher.destinations.browser.base import BrowserDestination
from dispatcher.destinations.options import check_options
from dispatcher.destinations.types import load_type
from dispatcher.errors import SettingsError
from dispatcher.rules.rules import Rules
from dispatcher.store.rate_limit import SharedRate

if TYPE_CHECKING:
    from dispatcher.config import DestinationSettings, Settings
    from dispatcher.destinations.base import BaseDestination

Build: TypeAlias = Callable[[], Destination[Options]]

# The fraction of what a vendor allows that is used: requests do not arrive as evenly as they leave, and one too many
# in a second would halve the rate.
_ALLOWED_FRACTION: Final = 0.95
# Seconds that Redis may take to say whether a request may go.
_RATE_TIMEOUT_SECONDS: Final = 5.0


def build_destinations(settings: Settings) -> dict[str, Build]:
    """A function for each destination that workers deliver to, by name, which builds it in the process that delivers.

    Raises:
        SettingsError: Options are missing or wrong; all of them are named at once.
    """
    problems = check_options(settings)
    if problems:
        raise SettingsError(problems)
    secret = read_secret(settings)
    return {
        name: partial(_build_served, name, table, settings.store, secret)
        for name, table in settings.served_destinations.items()
    }


def build(name: str, table: DestinationSettings, *, store: str | None = None) -> BaseDestination[Options]:
    """One destination as its table says, with its rules. Opens no connection.

    Args:
        name: The name of the table.
        table: Its options have been checked by ``check_options``.
        store: The Redis by which all workers keep to its rate; None where nothing will be sent.

    Raises:
        SettingsError: Its type cannot be imported.
        ValidationError: Its options are wrong.
    """
    destination_class = load_type(table.type)
    rules = Rules.of(table, integration=destination_class.integration, advertising=destination_class.advertising)
    rate = None if store is None else _rate(name, table, destination_class.requests_per_second, store)
    return destination_class(name, destination_class.Options.model_validate(table.options), rules=rules, rate=rate)


def _build_served(name: str, table: DestinationSettings, store: str, secret: bytes) -> Destination[Options]:
    destination = build(name, table, store=store)
    if isinstance(destination, BrowserDestination):
        destination.secret = secret
    assert isinstance(destination, Destination)
    return destination


def _rate(name: str, table: DestinationSettings, allowed_per_second: float | None, store: str) -> SharedRate | None:
    """The rate that is set, else a little less than the vendor allows; None where neither says anything."""
    per_second = table.rate.per_second
    if per_second is None and allowed_per_second is not None:
        per_second = allowed_per_second * _ALLOWED_FRACTION
    if per_second is None:
        return None
    # Requests that are spread evenly are the safest: a burst of n may put n more into a second than the rate says.
    burst = 1 if table.rate.burst is None else table.rate.burst
    return SharedRate(RedisPool(store, timeout_seconds=_RATE_TIMEOUT_SECONDS), name, per_second=per_second, burst=burst)
