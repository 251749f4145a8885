"""The destinations that the settings ask for, by their types' entry points, with their options checked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import SettingsError
from dispatcher.rules.rules import Rules
from dispatcher.store.rate_limit import SharedRate

if TYPE_CHECKING:
    from dispatcher.destinations.base import Destination

Build = Callable[[], "Destination[Any]"]

# Part of what a vendor allows that is used: requests do not arrive as evenly as they leave, and one too many in a
# second would halve the rate.
_ALLOWED_SHARE: Final = 0.95
# Seconds that Redis may take to say whose turn it is.
_RATE_TIMEOUT_SECONDS: Final = 5.0


def build_destinations(settings: config.Settings) -> dict[str, Build]:
    """What makes each destination that workers deliver to, by name; called in the process that delivers.

    Raises:
        SettingsError: Options are missing or wrong; all of them are named at once.
    """
    problems = config.check_options(settings)
    if problems:
        raise SettingsError(problems)
    return {name: partial(_build, name, table, settings.store) for name, table in settings.served_destinations.items()}


def _build(name: str, table: config.DestinationSettings, store: str) -> Destination[Any]:
    kind = config.load_type(table.type)
    rate = _rate(name, kind, table, store)
    rules = Rules.of(table, integration=kind.integration, advertising=kind.advertising)
    built: Destination[Any] = kind(name, kind.Options.model_validate(table.options), rules=rules, rate=rate)
    return built


def _rate(name: str, kind: Any, table: config.DestinationSettings, store: str) -> SharedRate | None:
    """The rate that is set, else a little less than the vendor allows; None where there is none."""
    per_second, allowed = table.rate.per_second, getattr(kind, "requests_per_second", None)
    if per_second is None and allowed is not None:
        per_second = allowed * _ALLOWED_SHARE
    if per_second is None:
        return None
    # Turns that are spread evenly are the safest: a burst of n may put n more into a second than the rate says.
    burst = 1 if table.rate.burst is None else table.rate.burst
    return SharedRate(RedisPool(store, timeout_seconds=_RATE_TIMEOUT_SECONDS), name, per_second=per_second, burst=burst)
