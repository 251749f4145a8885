"""Segment calls of the platform: ``track`` and ``identify`` of its ``common.djangoapps.track.segment``.

Two lines in the settings of the platform put this module in its place, so that no call of it waits or is lost:

    from dispatcher.contrib.openedx import segment
    sys.modules["common.djangoapps.track.segment"] = segment

Whether Segment gets the calls is up to the settings of dispatcher; ``LMS_SEGMENT_KEY`` of the platform is not read.
"""

from __future__ import annotations

from typing import Any, Final

from dispatcher import segment
from dispatcher.emit.context import BoundContext, current, replace_context

__all__ = ["identify", "track"]

# What the context says of a browser. The platform sends it with what a user does, and not with who a user is.
_BROWSER: Final = frozenset({"ip", "agent", "client_id", "host", "path", "page", "referer"})
_LAYER: Final = "identify"


def track(
    user_id: segment.Id,
    event_name: str | None,
    properties: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
) -> None:
    """Tell Segment that a user did something; see ``dispatcher.segment.track``. Neither blocks nor waits for a network.

    ip, userAgent, page and Google Analytics' client id come from the tracking context, where ``context`` has none.

    Args:
        user_id: Who.
        event_name: What they did. With None nothing is sent, as in the platform.
        properties: Its details.
        context: Segment's context; what it says wins. It stays as it is.

    Raises:
        InvalidEventError: Only with ``strict = true``, as in ``tracker.emit``.
        OutboxError: Only with ``strict = true``.
    """
    if event_name is not None:
        segment.track(user_id, event_name, properties, context)


def identify(user_id: segment.Id, properties: dict[str, Any] | None, context: dict[str, Any] | None = None) -> None:
    """Tell Segment who a user is: traits such as email and name; see ``dispatcher.segment.identify``.

    The tracking context adds nothing of the browser, as in the platform. The rest is as of ``track``.

    Args:
        user_id: Who.
        properties: The traits.
        context: Segment's context.
    """
    bound = current()
    rest = {name: value for name, value in bound.merged.items() if name not in _BROWSER}
    replace_context(BoundContext(((_LAYER, rest),)))
    try:
        segment.identify(user_id, properties, context)
    finally:
        replace_context(bound)
