"""Commit: events that are only true once the transaction holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from django.db import transaction

from dispatcher.emit.context import current
from dispatcher.tracker.default import get_tracker
from dispatcher.wire import encode_json


def emit_on_commit(name: str, data: Mapping[str, Any] | None = None, *, using: str | None = None) -> None:
    """Emit once the transaction is committed; outside a transaction at once. After a rollback nothing is emitted.

    The event has the time, the data and the context of this call, also where the commit comes after the request.
    Does not block. What the emit raises with ``strict = true`` is logged by Django, and harms no other callback.

    Args:
        name: As in ``tracker.emit``.
        data: As in ``tracker.emit``; what is changed in it later does not reach the event.
        using: The database; the default one, if not given.
    """
    submit = partial(get_tracker().submit, "event", name, _copy(data), timestamp=datetime.now(UTC), context=current())
    transaction.on_commit(submit, using=using, robust=True)


def _copy(data: Mapping[str, Any] | None) -> Any:
    try:
        return {} if data is None else msgspec.json.decode(encode_json(data))
    except Exception:  # emit says what is wrong with it
        return data
