"""edX's renamed events, the other way round: what the tracking log calls by an old name gets its own fields back.

Some of the rules cannot be undone, since the log does not hold what they changed: docs/how-to/replay.md names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

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
_SEEK_TYPES: Final = {"onSlideSeek": "slide", "onSkipSeek": "skip"}


def undo(name: str, event_type: str, event: dict[str, Any], context: dict[str, Any]) -> bool:
    """Give an event back the fields that it was emitted with. False where the log did not rename it.

    Args:
        name: As the line has it.
        event_type: As the line has it.
        event: Its data, changed in place.
        context: Its context, changed in place; ``page`` in it is the line's.
    """
    undone = _RULES.get((name, event_type))
    if undone is None:
        return False
    undone(event, context)
    return True


def _undo_step(event: dict[str, Any], _context: dict[str, Any]) -> None:
    event.pop("old", None)
    event.pop("new", None)


def _undo_video(event: dict[str, Any], context: dict[str, Any]) -> None:
    if not event:
        return
    for old, new in (("id", "module_id"), ("currentTime", "current_time")):
        if old in event:
            event[new] = event.pop(old)
    if event.get("type") in _SEEK_TYPES:
        event["seek_type"] = _SEEK_TYPES[event.pop("type")]
    # The page of a browser is its own; that of an app was made of this address, whose last part is not in the log.
    if context.get("event_source") != "browser" and isinstance(context.get("page"), str):
        context["open_in_browser_url"] = f"{context.pop('page')}/"


_RULES: Final[dict[tuple[str, str], Callable[[dict[str, Any], dict[str, Any]], None]]] = {
    **dict.fromkeys(_SEQUENCE.items(), _undo_step),
    **dict.fromkeys(_VIDEO.items(), _undo_video),
}
