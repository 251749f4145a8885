"""Sentry trace: a delivery as Sentry shows it, in the trace of each sampled request that emitted one of its events."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from dispatcher.monitoring.sentry.report import active_client
from dispatcher.store.doorbell import task_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.monitoring.sentry.traces import Trace
    from dispatcher.store.settlement import Settlement

# Traces that one delivery is sent to. A batch may hold events of a thousand requests, and the first ones show what the
# delivery was like.
_MAX_TRACES: Final = 20


def send_traces(destination: str, traces: Sequence[Trace], settlement: Settlement, *, seconds: float) -> None:
    """Report a delivery that has just been settled to this process's Sentry. Does not block; safe in threads.

    A batch holds events of many requests. One transaction with the first request as its parent would be missing from
    the other traces, so each of them gets one, with the same times.

    Args:
        destination: Its name.
        traces: Those of the batch's requests that are sampled. Without any, deliveries are sampled at the settings'
            rate.
        settlement: What became of the batch.
        seconds: How long the delivery took.
    """
    client = active_client()
    if client is None:
        return
    if not traces and client.options["traces_sample_rate"]:
        _send(destination, {}, settlement, seconds)
    for trace in traces[:_MAX_TRACES]:
        _send(destination, trace.headers, settlement, seconds)


def _send(destination: str, headers: dict[str, str], settlement: Settlement, seconds: float) -> None:
    # By name: it is imported only where the settings ask for it.
    sdk: Any = sys.modules["sentry_sdk"]
    # In a scope of its own, which continues the trace.
    with sdk.isolation_scope() as scope:
        transaction = scope.continue_trace(headers, op="queue.process", name=task_name(destination), source="task")
        ended = datetime.now(UTC)
        transaction.start_timestamp = ended - timedelta(seconds=seconds)
        # Sampled if the request was; without a request, by the rate of the settings.
        sdk.start_transaction(transaction)
        transaction.set_status(_status(settlement))
        for key, value in _facts(destination, settlement).items():
            transaction.set_data(key, value)
        transaction.finish(end_timestamp=ended)


def _status(settlement: Settlement) -> str:
    """The worst of the batch's events, in a word of https://develop.sentry.dev/sdk/data-model/event-payloads/span/."""
    if settlement.dead:
        return "failed_precondition"
    return "unavailable" if settlement.left else "ok"


def _facts(destination: str, settlement: Settlement) -> dict[str, str | int]:
    filtered = sum(settlement.filtered.values())
    dead, left = len(settlement.dead), len(settlement.left)
    return {
        "messaging.destination.name": destination,
        "messaging.batch.message_count": settlement.delivered + filtered + dead + left,
        "dispatcher.delivered": settlement.delivered,
        "dispatcher.filtered": filtered,
        "dispatcher.dead": dead,
        "dispatcher.parked": left,
    }
