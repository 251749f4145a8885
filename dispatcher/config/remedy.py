"""Remedy: what to do about a Redis that does not answer, by what the settings say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.config.files import DEFAULT_ENVIRONMENT

if TYPE_CHECKING:
    from dispatcher.config.schema import Settings


def redis_remedy(settings: Settings) -> str:
    """What to do where Redis does not answer. Never to start another Redis beside the one of a deployment."""
    variable = "DISPATCHER_BROKER_URL" if settings.store_url in (None, settings.broker_url) else "DISPATCHER_STORE_URL"
    if settings.broker_url is None and settings.environment == DEFAULT_ENVIRONMENT:
        return f"Start one with `dispatcher up`, or set {variable}"
    if settings.broker_url is None:
        return f"Set {variable} to the Redis of this site"
    return f"Make sure that it runs and that this machine can reach it, and look at {variable}; events wait meanwhile"
