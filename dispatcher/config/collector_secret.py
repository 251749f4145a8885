"""Collector secret: what signs whose page is whose. Set by the operator; on one machine `dispatcher up` makes one."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dispatcher.config.schema import Settings

_FILE: Final = "collector-secret"
_BYTES: Final = 32


def read_secret(settings: Settings) -> bytes:
    """``collector.secret``, else what ``dispatcher up`` made for its state directory; empty where neither is there."""
    if settings.collector.secret is not None:
        return settings.collector.secret.get_secret_value().encode()
    try:
        return (settings.state_directory / _FILE).read_bytes()
    except OSError:
        return b""


def make_secret(settings: Settings) -> None:
    """Make one for the state directory, which must exist, unless there is one. Raises OSError."""
    if read_secret(settings):
        return
    path = settings.state_directory / _FILE
    # Under another name first, so that nobody reads a part of it.
    draft = path.with_name(f"{_FILE}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(_BYTES))
    draft.replace(path)


def missing_secret(settings: Settings) -> str | None:
    """What to set where pages take events and nothing signs who their visitors are; None where nothing is missing."""
    if not settings.browser_destinations or read_secret(settings):
        return None
    return (
        f"collector.secret is not set, and {', '.join(settings.browser_destinations)} needs it, as it signs whose page "
        "is whose: set DISPATCHER_COLLECTOR__SECRET to what `openssl rand -hex 32` prints, for apps, workers and "
        "collectors alike"
    )
