"""Arrivals: events as a relay routes them, shown to whoever looks: where each goes, and why not elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.event import Event, data_fields, decode, users_of
from dispatcher.live.tap import Passing, Tap, shown_json
from dispatcher.monitoring.traces import remove_traces
from dispatcher.outcomes import DUPLICATE, UNKNOWN
from dispatcher.wire import ID_END, head, is_head

if TYPE_CHECKING:
    from dispatcher.live.lease import Lease

# Where the id begins in a payload.
_ID_START: Final = len('{"id":"')
#: From a payload to the destinations that its event goes to, and the reasons of those that it does not go to.
RouteOf = Callable[[bytes], tuple[Sequence[str], Mapping[str, str]]]


def show_arrivals(tap: Tap, passed: Sequence[tuple[bytes, bool]], route_of: RouteOf) -> None:
    """Show events that are about to be put. Blocks for a round trip for each viewer, and for none without one.

    Args:
        tap: Knows who looks.
        passed: The payload of each event, and whether it came before, so that it goes nowhere.
        route_of: Says where an event goes. What it raises for an event keeps that one from being shown.
    """
    for lease in tap.leases():
        wanted = [one for payload, is_repeat in passed if (one := _passing(lease, payload, is_repeat, route_of))]
        matched = len(passed) if lease.wants_all and not lease.destination else _scale(len(wanted), lease)
        tap.show(lease, wanted, matched=matched)


def _scale(sampled: int, lease: Lease) -> int:
    """How many the viewer wanted, of how many were in its fraction."""
    return round(sampled / lease.fraction) if lease.fraction else sampled


def _passing(lease: Lease, payload: bytes, is_repeat: bool, route_of: RouteOf) -> Passing | None:
    # Most that are left out are so by their id, before anything is decoded.
    if is_head(head(payload)) and not lease.samples(payload[_ID_START:ID_END].decode("ascii", "replace")):
        return None
    try:
        (plain,) = remove_traces([payload]).payloads
        event = decode(plain)
        goes, skipped = route_of(payload)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not lease.wants(event) or not lease.samples(event.id):
        return None
    if is_repeat:
        goes, skipped = (), {**dict.fromkeys(goes, DUPLICATE), **skipped}
    if lease.destination and lease.destination not in (*goes, *skipped):
        return None
    return Passing(
        event=event,
        destinations=(*goes, *skipped),
        describe=lambda: describe_arrival(event, plain, goes, skipped, is_repeat=is_repeat),
    )


def describe_arrival(
    event: Event, payload: bytes, goes: Sequence[str], skipped: Mapping[str, str], *, is_repeat: bool = False
) -> dict[str, Any]:
    """What is shown of an event, as an object for JSON. Times are in milliseconds since 1970.

    Args:
        event: The event.
        payload: Its bytes, without a trace.
        goes: The destinations that it goes to.
        skipped: Why it does not go to the others: a word of ``dispatcher.outcomes``.
        is_repeat: Whether it came before.
    """
    shown: dict[str, Any] = {
        "kind": "event",
        "id": event.id,
        "type": event.type,
        "name": event.name,
        "at_ms": event.timestamp.timestamp() * 1000,
        "seen_ms": datetime.now(UTC).timestamp() * 1000,
        "users": sorted(users_of(event)),
        "goes": list(goes),
        "skipped": dict(skipped),
        "event": shown_json(payload),
        "bytes": len(payload),
    }
    if is_repeat:
        shown["repeat"] = True
    if event.type in ("dead", "dropped"):
        data = data_fields(event)
        shown["not_taken"] = {"reason": str(data.get("reason", UNKNOWN)), "error": str(data.get("error", ""))}
    return shown
