"""Legacy: edX logs its sequence and video events with the event_type and the fields that they had under older names.

``to_legacy`` renames as edX does, oddities included, since the lines are compared to the byte: an event that a rule
trips over (a field is missing, a number is text) keeps its new name, and also what the rule had changed before.
``from_legacy`` undoes it, as far as the log holds what was changed: docs/how-to/replay.md names the rest.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from dispatcher.edx_log.usage_key import html_id

#: The name of every renamed event begins with one of these.
PREFIXES: Final = ("edx.ui.lms.sequence.", "edx.video.")

_SEQUENCE: Final = {
    "edx.ui.lms.sequence.tab_selected": "seq_goto",
    "edx.ui.lms.sequence.next_selected": "seq_next",
    "edx.ui.lms.sequence.previous_selected": "seq_prev",
}
_VIDEO: Final = {
    "edx.video.played": "play_video",
    "edx.video.paused": "pause_video",
    "edx.video.stopped": "stop_video",
    "edx.video.loaded": "load_video",
    "edx.video.position.changed": "seek_video",
    "edx.video.transcript.shown": "show_transcript",
    "edx.video.transcript.hidden": "hide_transcript",
    "edx.video.language_menu.shown": "video_show_cc_menu",
    "edx.video.language_menu.hidden": "video_hide_cc_menu",
}
# Events that are logged under the name of another event.
_SAME_AS: Final = {"edx.video.seeked": "edx.video.position.changed"}
_SEEK_TYPES: Final = {"slide": "onSlideSeek", "skip": "onSkipSeek"}
_NEW_SEEK_TYPES: Final = {legacy: new for new, legacy in _SEEK_TYPES.items()}

# Seconds that the players' skip buttons go; any other interval was the slider, whatever the event says.
_SKIP_SECONDS: Final = 30
# This build of the app said +30 when its users went back by 30.
_IOS_WITH_SKIP_BUG: Final = ("edx.mobileapp.iOS", "1.0.02")


class LegacyForm(msgspec.Struct, frozen=True, kw_only=True):
    """What changes in the line. None in ``event_type`` or ``page`` leaves that field as it was."""

    name: str
    event_type: str | None
    event: Any
    page: str | None = None


def to_legacy(name: str, event: Any, context: dict[str, Any]) -> LegacyForm | None:
    """The legacy form of an event whose name begins with one of ``PREFIXES``; None where edX keeps the new one.

    Args:
        name: The event's name.
        event: The line's ``event`` as it is without this: for browser events the text of a JSON object. Changed in
            place where it is a dict.
        context: The line's context, changed in place.
    """
    name = _SAME_AS.get(name, name)
    if name not in _SEQUENCE and name not in _VIDEO:
        return None
    try:
        fields = json.loads(event) if isinstance(event, str) else event
        form = _rename_video(name, fields, context) if name in _VIDEO else _rename_sequence(name, fields)
        return msgspec.structs.replace(form, event=json.dumps(fields)) if isinstance(event, str) else form
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def from_legacy(name: str, event_type: str, event: dict[str, Any], context: dict[str, Any]) -> bool:
    """Give an event back the fields that it was emitted with. False where the log did not rename it.

    Args:
        name: As the line has it.
        event_type: As the line has it.
        event: The line's ``event``, changed in place.
        context: The line's context with its ``page``, changed in place.
    """
    if _SEQUENCE.get(name) == event_type:
        event.pop("old", None)
        event.pop("new", None)
        return True
    if _VIDEO.get(name) == event_type:
        _restore_video(event, context)
        return True
    return False


def _rename_sequence(name: str, event: Any) -> LegacyForm:
    event_type = _SEQUENCE[name]
    if event_type == "seq_goto":
        event["old"] = event["current_tab"]
        event["new"] = event["target_tab"]
        return LegacyForm(name=name, event_type=event_type, event=event)
    is_next = event_type == "seq_next"
    # The old events were emitted only within a sequence, so a step out of it has no old name.
    if event["current_tab"] == (event["tab_count"] if is_next else 1):
        return LegacyForm(name=name, event_type=None, event=event)
    event["old"] = event["current_tab"]
    event["new"] = event["current_tab"] + (1 if is_next else -1)
    return LegacyForm(name=name, event_type=event_type, event=event)


def _rename_video(name: str, event: Any, context: dict[str, Any]) -> LegacyForm:
    page = None
    if event:
        _rename_fields(event)
        _set_seek_type(event)
        if "open_in_browser_url" in context:
            page = context.pop("open_in_browser_url").rpartition("/")[0]
        _correct_ios_skip(event, context)
    return LegacyForm(name=name, event_type=_VIDEO[name], event=event, page=page)


def _rename_fields(event: Any) -> None:
    if "module_id" in event:
        module_id = event["module_id"]
        block = None if module_id is None else html_id(module_id)
        if block is not None:
            event["id"] = block
        del event["module_id"]
    if "current_time" in event:
        event["currentTime"] = event.pop("current_time")


def _set_seek_type(event: Any) -> None:
    if "seek_type" in event:
        seek_type = event["seek_type"]
        if seek_type in ("slide", "skip"):
            event["type"] = _SEEK_TYPES[seek_type]
        del event["seek_type"]
    if "requested_skip_interval" in event:
        is_seek = abs(event["requested_skip_interval"]) != _SKIP_SECONDS
        if is_seek and "type" in event:
            event["type"] = _SEEK_TYPES["slide"]


def _correct_ios_skip(event: Any, context: dict[str, Any]) -> None:
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


def _restore_video(event: dict[str, Any], context: dict[str, Any]) -> None:
    if not event:
        return
    for legacy, new in (("id", "module_id"), ("currentTime", "current_time")):
        if legacy in event:
            event[new] = event.pop(legacy)
    if event.get("type") in _NEW_SEEK_TYPES:
        event["seek_type"] = _NEW_SEEK_TYPES[event.pop("type")]
    # The page of a browser is its own; that of an app was made of this address, whose last part is not in the log.
    if context.get("event_source") != "browser" and isinstance(context.get("page"), str):
        context["open_in_browser_url"] = f"{context.pop('page')}/"
