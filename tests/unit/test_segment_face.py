"""segment.track and the other calls: what they give to the tracker. They decide nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from dispatcher import segment, tracker
from dispatcher.errors import InvalidEventError
from dispatcher.event import decode
from dispatcher.outbox import MemoryOutbox
from dispatcher.testing import capture


class RecordingTracker:
    """Takes the place of the default tracker and remembers what is submitted."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, dict[str, Any], datetime | None]] = []

    def submit(self, kind: str, name: Any, data: dict[str, Any], *, timestamp: datetime | None = None) -> str:
        self.calls.append((kind, name, data, timestamp))
        return f"id-{len(self.calls)}"


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> RecordingTracker:
    recorder = RecordingTracker()
    monkeypatch.setattr(tracker, "get_tracker", lambda: recorder)
    return recorder


def test_track_takes_edx_positional_arguments(recorder: RecordingTracker) -> None:
    assert segment.track(7, "edx.bi.user.account.registered", {"category": "conversion"}, {"ip": "192.0.2.1"}) == "id-1"
    data = {
        "userId": "7",
        "event": "edx.bi.user.account.registered",
        "properties": {"category": "conversion"},
        "context": {"ip": "192.0.2.1"},
    }
    assert recorder.calls == [("track", "edx.bi.user.account.registered", data, None)]


def test_identify_takes_edx_positional_arguments(recorder: RecordingTracker) -> None:
    assert segment.identify(7, {"email": "ada@example.org"}, {"locale": "de"}) == "id-1"
    data = {"userId": "7", "traits": {"email": "ada@example.org"}, "context": {"locale": "de"}}
    assert recorder.calls == [("identify", "identify", data, None)]


def test_page_and_screen_keep_their_title_in_the_call(recorder: RecordingTracker) -> None:
    segment.page("u", "A\xa0title\nof two lines", {"a": 1}, category="Docs")
    segment.screen("u", "Feed", {"a": 1}, category="Home")
    page = {"userId": "u", "name": "A\xa0title\nof two lines", "category": "Docs", "properties": {"a": 1}}
    screen = {"userId": "u", "name": "Feed", "category": "Home", "properties": {"a": 1}}
    assert recorder.calls == [("page", "page", page, None), ("screen", "screen", screen, None)]


def test_a_page_needs_no_title(recorder: RecordingTracker) -> None:
    segment.page("u")
    assert recorder.calls == [("page", "page", {"userId": "u"}, None)]


def test_group_and_alias_keep_the_other_id(recorder: RecordingTracker) -> None:
    segment.group(7, 42, {"plan": "team"})
    segment.alias("visitor", 7)
    group = {"userId": "7", "groupId": "42", "traits": {"plan": "team"}}
    assert recorder.calls == [
        ("group", "group", group, None),
        ("alias", "alias", {"userId": "7", "previousId": "visitor"}, None),
    ]


def test_every_call_passes_on_its_integrations_and_time(recorder: RecordingTracker) -> None:
    then = datetime(2026, 1, 2, tzinfo=UTC)
    to_one = {"All": False, "Mixpanel": True}
    segment.track(1, "E", integrations=to_one, timestamp=then)
    segment.identify(1, {}, integrations=to_one, timestamp=then)
    segment.page(1, integrations=to_one, timestamp=then)
    segment.screen(1, integrations=to_one, timestamp=then)
    segment.group(1, 2, integrations=to_one, timestamp=then)
    segment.alias(2, 1, integrations=to_one, timestamp=then)
    assert [(kind, data["integrations"], timestamp) for kind, _, data, timestamp in recorder.calls] == [
        (kind, to_one, then) for kind in ("track", "identify", "page", "screen", "group", "alias")
    ]


@pytest.mark.parametrize("nobody", [None, ""])
def test_an_anonymous_visitor_has_only_an_anonymous_id(recorder: RecordingTracker, nobody: str | None) -> None:
    segment.track(nobody, "E", anonymous_id="visitor")
    assert recorder.calls[0][2] == {"anonymousId": "visitor", "event": "E"}


@pytest.mark.parametrize("nobody", [None, ""])
def test_a_call_without_a_person_is_submitted_too(recorder: RecordingTracker, nobody: str | None) -> None:
    assert segment.track(nobody, "E") == "id-1"
    assert recorder.calls == [("track", "E", {"event": "E"}, None)]


@pytest.mark.parametrize(
    ("user_id", "text"),
    [
        (0, "0"),
        (7, "7"),
        ("ada", "ada"),
        (UUID("00000000-0000-4000-8000-00000000000a"), "00000000-0000-4000-8000-00000000000a"),
    ],
)
def test_ids_become_text(recorder: RecordingTracker, user_id: Any, text: str) -> None:
    segment.track(user_id, "E")
    assert recorder.calls[0][2]["userId"] == text


@pytest.mark.parametrize(
    "value",
    [True, 7.0, 7.5, [7], {"id": 7}, b"7", object(), int, KeyError("ada")],
    ids=lambda value: type(value).__name__,  # not its text, which has an address
)
def test_what_is_no_id_is_left_to_who_reads_ids(recorder: RecordingTracker, value: Any) -> None:
    segment.track(value, "E", anonymous_id=value)
    segment.group(value, value)
    segment.alias(value, value)

    ids = [id_ for _, _, data, _ in recorder.calls for key, id_ in data.items() if key.endswith("Id")]
    assert len(ids) == 6
    assert all(id_ is value for id_ in ids)


def test_an_object_that_has_a_text_is_an_id(recorder: RecordingTracker) -> None:
    class ObjectId:
        def __str__(self) -> str:
            return "507f1f77bcf86cd799439011"

    segment.track(ObjectId(), "E")  # type: ignore[arg-type]

    assert recorder.calls[0][2]["userId"] == "507f1f77bcf86cd799439011"


def test_empty_values_are_passed_on(recorder: RecordingTracker) -> None:
    segment.track(1, "E", {}, {}, integrations={})
    assert recorder.calls[0][2] == {"userId": "1", "event": "E", "properties": {}, "context": {}, "integrations": {}}


@pytest.mark.parametrize("name", [None, "", 5])
def test_an_invalid_name_is_left_for_the_tracker_to_refuse(recorder: RecordingTracker, name: Any) -> None:
    segment.track(1, name)
    assert recorder.calls[0][:2] == ("track", name)


def test_the_callers_dicts_are_not_changed(recorder: RecordingTracker) -> None:
    properties, context, integrations = {"a": 1}, {"page": {"title": "T"}}, {"All": True}
    segment.track(1, "E", properties, context, integrations=integrations)
    assert (properties, context, integrations) == ({"a": 1}, {"page": {"title": "T"}}, {"All": True})


@pytest.mark.parametrize("call", [segment.identify, segment.page, segment.screen])
def test_details_in_the_place_of_the_user_are_an_error_that_says_what_comes_first(call: Any) -> None:
    with capture(), pytest.raises(InvalidEventError, match="who it is comes first") as raised:
        call({"email": "grace@example.org"})
    assert "grace" not in str(raised.value)

    lenient = tracker.Tracker(outbox=(outbox := MemoryOutbox()))
    before = tracker.set_tracker(lenient)
    try:
        call({"email": "ada@example.org"})
    finally:
        tracker.set_tracker(before)
    (letter,) = map(decode, outbox.payloads)
    assert (letter.type, letter.data["reason"]) == ("dead", "invalid")
    assert "ada@example.org" in letter.data["data"], "it can be repaired"
