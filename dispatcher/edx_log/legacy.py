"""edX's renamed events: sequence navigation and video have kept the event_type and the fields that they had before.

edX's own rules, oddities included, since the lines are compared to the byte: an event that a rule trips over (a field
missing, a number that is text) keeps its new name, but also what the rule had changed before it tripped.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.edx_log.usage_key import html_id

if TYPE_CHECKING:
    from collections.abc import Callable

#: Every event that is renamed has a name that begins so.
PREFIXES: Final = ("edx.ui.lms.sequence.", "edx.video.")

_VIDEO: Final = {
    "edx.video.played": "play_video",
    "edx.video.paused": "pause_video",
    "edx.video.stopped": "stop_video",
    "edx.video.loaded": "load_video",
    "edx.video.position.changed": "seek_video",
    "edx.video.seeked": "seek_video",
    "edx.video.transcript.shown": "show_transcript",
    "edx.video.transcript.hidden": "hide_transcript",
    "edx.video.language_menu.shown": "video_show_cc_menu",
    "edx.video.language_menu.hidden": "video_hide_cc_menu",
}
_SEEK_TYPES: Final = {"slide": "onSlideSeek", "skip": "onSkipSeek"}

# Seconds that the players' skip buttons go; any other interval was the slider, whatever the event says.
_SKIP_SECONDS: Final = 30
# This build of the app said +30 when its users went back by 30.
_IOS_WITH_SKIP_BUG: Final = ("edx.mobileapp.iOS", "1.0.02")


class Renamed(msgspec.Struct, frozen=True, kw_only=True):
    """What changes in the line. None in ``event_type`` or ``page`` leaves that field as it was."""

    name: str
    event_type: str | None
    event: Any
    page: str | None = None


def rename(name: str, event: Any, context: dict[str, Any]) -> Renamed | None:
    """The old form of an event whose name begins with one of ``PREFIXES``; None where it has none.

    Args:
        name: The event's name.
        event: The line's ``event`` as it is without this: for browser events the text of a JSON object. Changed in
            place where it is a dict.
        context: The line's context, changed in place.
    """
    rule = _SEQUENCE.get(name) or (_video if name in _VIDEO else None)
    if rule is None:
        return None
    try:
        payload = json.loads(event) if isinstance(event, str) else event
        renamed = rule(name, payload, context)
        return msgspec.structs.replace(renamed, event=json.dumps(payload)) if isinstance(event, str) else renamed
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _goto(name: str, event: Any, _context: dict[str, Any]) -> Renamed:
    event["old"] = event["current_tab"]
    event["new"] = event["target_tab"]
    return Renamed(name=name, event_type="seq_goto", event=event)


def _next(name: str, event: Any, _context: dict[str, Any]) -> Renamed:
    leaves = event["current_tab"] == event["tab_count"]
    return _step(name, event, leaves=leaves, event_type="seq_next", tabs=1)


def _previous(name: str, event: Any, _context: dict[str, Any]) -> Renamed:
    leaves = event["current_tab"] == 1
    return _step(name, event, leaves=leaves, event_type="seq_prev", tabs=-1)


def _step(name: str, event: Any, *, leaves: bool, event_type: str, tabs: int) -> Renamed:
    # The old events were emitted only within a sequence, so a step out of it has no old name.
    if leaves:
        return Renamed(name=name, event_type=None, event=event)
    event["old"] = event["current_tab"]
    event["new"] = event["current_tab"] + tabs
    return Renamed(name=name, event_type=event_type, event=event)


_SEQUENCE: Final[dict[str, Callable[[str, Any, dict[str, Any]], Renamed]]] = {
    "edx.ui.lms.sequence.tab_selected": _goto,
    "edx.ui.lms.sequence.next_selected": _next,
    "edx.ui.lms.sequence.previous_selected": _previous,
}


def _video(name: str, event: Any, context: dict[str, Any]) -> Renamed:
    new_name = "edx.video.position.changed" if name == "edx.video.seeked" else name
    page = None
    if event:
        _rename_fields(event)
        _tell_seek_from_skip(event)
        if "open_in_browser_url" in context:
            page = context.pop("open_in_browser_url").rpartition("/")[0]
        _turn_ios_skip(event, context)
    return Renamed(name=new_name, event_type=_VIDEO[name], event=event, page=page)


def _rename_fields(event: Any) -> None:
    if "module_id" in event:
        module_id = event["module_id"]
        block = None if module_id is None else html_id(module_id)
        if block is not None:
            event["id"] = block
        del event["module_id"]
    if "current_time" in event:
        event["currentTime"] = event.pop("current_time")


def _tell_seek_from_skip(event: Any) -> None:
    if "seek_type" in event:
        seek_type = event["seek_type"]
        if seek_type in ("slide", "skip"):
            event["type"] = _SEEK_TYPES[seek_type]
        del event["seek_type"]
    if "requested_skip_interval" in event:
        is_seek = abs(event["requested_skip_interval"]) != _SKIP_SECONDS
        if is_seek and "type" in event:
            event["type"] = _SEEK_TYPES["slide"]


def _turn_ios_skip(event: Any, context: dict[str, Any]) -> None:
    if "application" not in context:
        return
    application = context["application"]
    if "version" not in application or "name" not in application:
        return
    if (application["name"], application["version"]) != _IOS_WITH_SKIP_BUG:
        return
    if "requested_skip_interval" not in event or "type" not in event:
        return
    if event["requested_skip_interval"] == _SKIP_SECONDS and event["type"] == _SEEK_TYPES["skip"]:
        event["requested_skip_interval"] = -_SKIP_SECONDS
