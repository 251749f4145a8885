"""edX's renamed events as whole lines, compared with lines written by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.edx_log.render import renderer
from dispatcher.edx_log.usage_key import html_id
from dispatcher.event import Event, encode

TIMESTAMP = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
EMPTY = '"username": "", "session": "", "ip": "", "agent": "", "host": "", "referer": "", "accept_language": "", '
TIME = '"time": "2026-03-04T05:06:07+00:00", '
BLOCK = "block-v1:Uni+Math+2026+type@video+block@a1b2"


def line(name: str, data: Any, **context: Any) -> str:
    return renderer("edx")(encode(Event(id="i", name=name, timestamp=TIMESTAMP, data=data, context=context))).decode()


def fields(name: str, data: Any, **context: Any) -> dict[str, Any]:
    return dict(json.loads(line(name, data, **context)))


def test_a_selected_tab_is_seq_goto() -> None:
    data = {"current_tab": 2, "target_tab": 5, "tab_count": 9, "id": "b"}
    assert line("edx.ui.lms.sequence.tab_selected", data) == (
        '{"name": "edx.ui.lms.sequence.tab_selected", "context": {}, ' + EMPTY + '"event": '
        '{"current_tab": 2, "target_tab": 5, "tab_count": 9, "id": "b", "old": 2, "new": 5}, ' + TIME + '"event_type": '
        '"seq_goto", "event_source": "server", "page": null}'
    )


@pytest.mark.parametrize(("direction", "old_name", "new"), [("next", "seq_next", 4), ("previous", "seq_prev", 2)])
def test_a_browsers_step_within_a_sequence_is_renamed_in_its_text(direction: str, old_name: str, new: int) -> None:
    data = {"current_tab": 3, "tab_count": 5}
    written = line(f"edx.ui.lms.sequence.{direction}_selected", data, event_source="browser", page="https://x.org/é")
    assert written == (
        f'{{"name": "edx.ui.lms.sequence.{direction}_selected", "context": {{}}, {EMPTY}"event": '
        rf'"{{\"current_tab\": 3, \"tab_count\": 5, \"old\": 3, \"new\": {new}}}", {TIME}"event_type": '
        rf'"{old_name}", "event_source": "browser", "page": "https://x.org/\u00e9"}}'
    )


@pytest.mark.parametrize(("direction", "tab"), [("next", 5), ("previous", 1)])
def test_a_step_out_of_the_sequence_keeps_its_name(direction: str, tab: int) -> None:
    name = f"edx.ui.lms.sequence.{direction}_selected"
    written = fields(name, {"current_tab": tab, "tab_count": 5})
    assert (written["event_type"], written["event"]) == (name, {"current_tab": tab, "tab_count": 5})


def test_a_step_in_text_of_the_page_is_spaced_like_edxs() -> None:
    written = fields("edx.ui.lms.sequence.next_selected", '{"current_tab":5,"tab_count":5}', event_source="browser")
    assert written["event"] == '{"current_tab": 5, "tab_count": 5}'


@pytest.mark.parametrize(
    ("name", "old_name"),
    [
        ("edx.video.played", "play_video"),
        ("edx.video.paused", "pause_video"),
        ("edx.video.stopped", "stop_video"),
        ("edx.video.loaded", "load_video"),
        ("edx.video.position.changed", "seek_video"),
        ("edx.video.transcript.shown", "show_transcript"),
        ("edx.video.transcript.hidden", "hide_transcript"),
        ("edx.video.language_menu.shown", "video_show_cc_menu"),
        ("edx.video.language_menu.hidden", "video_hide_cc_menu"),
    ],
)
def test_a_video_event_gets_its_old_name_and_fields(name: str, old_name: str) -> None:
    data = {"module_id": BLOCK, "code": "mobile", "current_time": 1.5}
    assert line(name, data, event_source="mobile", course_id="c", open_in_browser_url="https://x.org/a/b/2") == (
        f'{{"name": "{name}", "context": {{"course_id": "c"}}, {EMPTY}"event": '
        f'{{"code": "mobile", "id": "a1b2", "currentTime": 1.5}}, {TIME}"event_type": "{old_name}", '
        '"event_source": "mobile", "page": "https://x.org/a/b"}'
    )


def test_a_seeked_video_has_the_changed_position() -> None:
    written = fields("edx.video.seeked", {})
    assert (written["name"], written["event_type"]) == ("edx.video.position.changed", "seek_video")


def test_a_video_event_without_data_keeps_its_page_and_context() -> None:
    written = fields("edx.video.played", {}, open_in_browser_url="https://x.org/a/b/2")
    assert (written["event_type"], written["page"]) == ("play_video", None)
    assert written["context"] == {"open_in_browser_url": "https://x.org/a/b/2"}


@pytest.mark.parametrize("name", ["edx.video.bumper.played", "edx.video.", "edx.ui.lms.sequence.other", "edx.video"])
def test_similar_names_are_not_renamed(name: str) -> None:
    written = fields(name, {"current_time": 1})
    assert (written["event_type"], written["event"]) == (name, {"current_time": 1})


@pytest.mark.parametrize(
    ("data", "written"),
    [
        ({"seek_type": "slide"}, {"type": "onSlideSeek"}),
        ({"seek_type": "skip", "requested_skip_interval": -30}, {"requested_skip_interval": -30, "type": "onSkipSeek"}),
        ({"seek_type": "skip", "requested_skip_interval": 12}, {"requested_skip_interval": 12, "type": "onSlideSeek"}),
        ({"requested_skip_interval": 12}, {"requested_skip_interval": 12}),
        ({"seek_type": "other", "a": 1}, {"a": 1}),
        ({"module_id": "not a key", "a": 1}, {"a": 1}),
        ({"module_id": None, "id": "kept"}, {"id": "kept"}),
        ({"currentTime": 1, "current_time": 2, "z": 0}, {"currentTime": 2, "z": 0}),
    ],
)
def test_fields_of_a_seek_are_translated(data: dict[str, Any], written: dict[str, Any]) -> None:
    event = fields("edx.video.position.changed", data)["event"]
    assert list(event.items()) == list(written.items())


@pytest.mark.parametrize(("version", "interval"), [("1.0.02", -30), ("1.0.03", 30)])
def test_the_ios_build_that_swapped_directions_is_corrected(version: str, interval: int) -> None:
    application = {"name": "edx.mobileapp.iOS", "version": version}
    data = {"seek_type": "skip", "requested_skip_interval": 30}
    written = fields("edx.video.position.changed", data, application=application)
    assert written["event"]["requested_skip_interval"] == interval


@pytest.mark.parametrize(
    ("name", "data", "left"),
    [
        ("edx.ui.lms.sequence.tab_selected", {"current_tab": 2}, {"current_tab": 2, "old": 2}),
        ("edx.ui.lms.sequence.next_selected", {"tab_count": 2}, {"tab_count": 2}),
        ("edx.ui.lms.sequence.next_selected", ["current_tab"], ["current_tab"]),
        ("edx.video.position.changed", {"requested_skip_interval": "30"}, {"requested_skip_interval": "30"}),
        ("edx.video.played", {"module_id": 5, "current_time": 1}, {"module_id": 5, "current_time": 1}),
        ("edx.video.played", "not json", "not json"),
    ],
)
def test_an_event_that_breaks_a_rule_keeps_its_name_and_earlier_changes(name: str, data: Any, left: Any) -> None:
    written = fields(name, data)
    assert (written["event_type"], written["event"]) == (name, left)


def test_unusual_floats_of_a_renamed_event_are_written_like_pythons() -> None:
    assert '"currentTime": 1e-05}' in line("edx.video.played", {"current_time": 0.00001})
    assert '"old": 1e+16, "new": 1e+16}' in line(
        "edx.ui.lms.sequence.next_selected", {"current_tab": 1e16, "tab_count": 3}
    )


@pytest.mark.parametrize(
    ("key", "written"),
    [
        (BLOCK, "a1b2"),
        ("block-v1:Uni+Math+2026+branch@draft+version@519665f6223ebd6980884f2b+type@video+block@a:b.c~d", "a:b.c~d"),
        ("ccx-block-v1:Uni+Math+2026+ccx@3+type@video+block@a1", "a1"),
        ("lib-block-v1:Uni+Lib+type@video+block@a1", "a1"),
        ("lb:Uni:lib:video:a1", "lb:Uni:lib:video:a1"),
        ("i4x://Uni/Math.1x/video/a1__b", "i4x-Uni-Math_1x-video-a1_b"),
        ("i4x://Uni/Math/video/a1@draft", "i4x-Uni-Math-video-a1"),
        ("block-v1:Uni+Math+type@video+block@a1", None),
        ("block-v1:Uni+Math+2026+type@video+block@a b", None),
        ("block-v1:Uni+Math+2026+type@video", None),
        ("i4x-Uni-Math-video-a1", None),
        ("", None),
    ],
)
def test_a_block_is_named_like_in_edxs_pages(key: str, written: str | None) -> None:
    assert html_id(key) == written
