"""Segment: events as messages to Segment, by way of dispatcher: the call touches no network."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlunsplit

from dispatcher import segment as analytics


class SegmentBackend:
    """Sends each event of a known user to Segment: its name, and the whole event as properties.

    Events without a name or a user are left out, as event-tracking does. Where ``page`` is missing, it is made of host
    and path.
    """

    leaves_event_alone = True

    def send(self, event: Mapping[str, Any]) -> None:
        """Take an event. Does not block; what it raises is as in ``segment.track``."""
        context = event.get("context") or {}
        name, user_id = event.get("name"), context.get("user_id")
        if name is None or user_id in (None, ""):
            return
        timestamp = event.get("timestamp")
        own = {"timestamp": timestamp} if isinstance(timestamp, datetime) else {}
        analytics.track(user_id, name, event, context=_to_segment(context), **own)  # type: ignore[arg-type]


def _to_segment(context: Mapping[str, Any]) -> dict[str, Any]:
    client_id = context.get("client_id")
    path, host, url = context.get("path"), context.get("host"), context.get("page")
    if path and host and not url:
        url = urlunsplit(("https", host, path, "", ""))
    page = _without_none({"path": path, "referrer": context.get("referer"), "url": url})
    return _without_none(
        {
            "Google Analytics": None if client_id is None else {"clientId": client_id},
            "ip": context.get("ip"),
            "userAgent": context.get("agent"),
            "page": page or None,
        }
    )


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value is not None}
