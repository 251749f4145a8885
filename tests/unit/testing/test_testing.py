"""What an app's own tests get: emitted events in memory, without Redis, settings or disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dispatcher import segment, tracker
from dispatcher.errors import NotEncodableError
from dispatcher.testing import Captured, capture
from dispatcher.tracker import Tracker


def test_the_fixture_holds_what_the_test_emits(emitted_events: Captured) -> None:
    event_id = tracker.emit("shop.order.paid", {"order": 17})
    assert emitted_events.names == ["shop.order.paid"]
    assert emitted_events.one("shop.order.paid", order=17).id == event_id


def test_the_fixture_is_strict(emitted_events: Captured) -> None:
    with pytest.raises(NotEncodableError):
        tracker.emit("shop.order.paid", {"order": object()})
    assert emitted_events.events == []


def test_events_look_as_workers_see_them() -> None:
    with capture() as captured, tracker.context("request", {"user_id": 7}):
        tracker.emit("shop.order.paid", {"items": ("a", "b"), 1: None})
    event = captured.one("shop.order.paid")
    assert event.data == {"items": ["a", "b"], "1": None}
    assert event.context == {"user_id": 7}


def test_segments_calls_are_captured_too() -> None:
    with capture() as captured:
        segment.identify(7, {"email": "ada@example.org"})
        segment.track(7, "Order Paid")
    assert [(event.type, event.name) for event in captured.events] == [
        ("identify", "identify"),
        ("track", "Order Paid"),
    ]


def test_events_of_one_name_come_oldest_first() -> None:
    with capture() as captured:
        for number in range(3):
            tracker.emit("a", {"n": number})
            tracker.emit("b")
    assert [event.data["n"] for event in captured.named("a")] == [0, 1, 2]
    assert captured.named("c") == []


def test_a_capture_may_be_read_and_cleared_while_it_runs() -> None:
    with capture() as captured:
        tracker.emit("a")
        assert captured.names == ["a"]
        captured.clear()
        assert captured.events == []
        tracker.emit("b")
        assert captured.names == ["b"]
    assert captured.names == ["b"]


def test_one_selects_by_values_in_the_data() -> None:
    with capture() as captured:
        tracker.emit("shop.order.paid", {"order": 17, "total": 5})
        tracker.emit("shop.order.paid", {"order": 18, "total": 5})
    assert captured.one("shop.order.paid", order=18, total=5).data["order"] == 18


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("shop.order.lost", {}, "wanted one event 'shop.order.lost', found 0"),
        ("shop.order.paid", {"order": 19}, "wanted one event 'shop.order.paid' with {'order': 19}, found 0"),
        ("shop.order.paid", {"missing": None}, "found 0"),
        ("shop.order.paid", {"total": 5}, "wanted one event 'shop.order.paid' with {'total': 5}, found 2"),
        ("shop.order.paid", {}, "found 2"),
    ],
)
def test_one_without_a_unique_match_names_the_emitted_events(name: str, data: dict[str, object], message: str) -> None:
    with capture() as captured:
        tracker.emit("shop.order.paid", {"order": 17, "total": 5})
        tracker.emit("shop.order.paid", {"order": 18, "total": 5})
    with pytest.raises(AssertionError) as caught:
        captured.one(name, **data)
    assert message in str(caught.value)
    assert "\n  shop.order.paid {'order': 17, 'total': 5}\n  shop.order.paid {'order': 18" in str(caught.value)


def test_one_may_select_by_a_field_called_name() -> None:
    with capture() as captured:
        tracker.emit("shop.order.paid", {"name": "first"})
        tracker.emit("shop.order.paid", {"name": "second"})
    assert captured.one("shop.order.paid", name="second").data == {"name": "second"}


def test_one_without_any_event_says_that_nothing_was_emitted() -> None:
    with capture() as captured, pytest.raises(AssertionError, match="found 0; emitted were: nothing"):
        captured.one("shop.order.paid")


def test_one_does_not_search_the_text_of_a_browser_event() -> None:
    with capture() as captured, tracker.context("browser", {"event_source": "browser"}):
        tracker.emit("page_close", "text")  # type: ignore[arg-type]
    assert captured.one("page_close").data == "text"
    with pytest.raises(AssertionError, match="found 0"):
        captured.one("page_close", id=1)


def test_without_strict_an_invalid_event_is_a_dead_letter_as_in_production() -> None:
    with capture(strict=False) as captured:
        tracker.emit("shop.order.paid", {"order": object()})
    event = captured.one("shop.order.paid")
    assert (event.type, event.data["reason"]) == ("dead", "not_encodable")


def test_the_previous_tracker_is_always_restored() -> None:
    before = tracker.get_tracker()

    def fail() -> None:
        with capture():
            assert tracker.get_tracker() is not before
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert tracker.get_tracker() is before


def test_captures_may_be_nested_and_the_inner_one_keeps_its_events() -> None:
    with capture() as outer:
        tracker.emit("a")
        with capture() as inner:
            tracker.emit("b")
        tracker.emit("c")
    assert (outer.names, inner.names) == (["a", "c"], ["b"])


def test_a_running_tracker_continues_with_its_own_outbox() -> None:
    from dispatcher.outbox import MemoryOutbox

    mine = Tracker(outbox=(outbox := MemoryOutbox()))
    before = tracker.set_tracker(mine)
    try:
        tracker.emit("a")
        with capture():
            tracker.emit("b")
        tracker.emit("c")
    finally:
        tracker.set_tracker(before)
    assert len(outbox.payloads) == 2


def test_what_threads_and_tasks_emit_is_captured() -> None:
    async def run() -> None:
        await asyncio.gather(*(asyncio.to_thread(tracker.emit, f"task.n{number}") for number in range(5)))

    with capture() as captured:
        thread = threading.Thread(target=tracker.emit, args=("thread",))
        thread.start()
        thread.join()
        asyncio.run(run())
    assert sorted(captured.names) == ["task.n0", "task.n1", "task.n2", "task.n3", "task.n4", "thread"]


def test_a_capture_needs_neither_settings_nor_disk_nor_redis(tmp_path: Path) -> None:
    code = """
import sys
from dispatcher import tracker
from dispatcher.testing import capture
with capture() as captured:
    tracker.emit("shop.order.paid", {"order": 17})
    assert tracker.flush(0)
    tracker.get_tracker().close()
    tracker.emit("shop.order.paid", {"order": 18})
print([event.data["order"] for event in captured.events])
print(sorted({"redis", "celery", "pydantic", "kombu"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={"HOME": str(tmp_path), "DISPATCHER_SETTINGS": "/nowhere", "DISPATCHER_NONSENSE": "x"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[17, 18]", "[]"]
    assert list(tmp_path.iterdir()) == []


def test_the_plugin_is_loaded_by_default_and_imports_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text("""
import sys

def test_without():
    assert {"redis", "celery", "pydantic"}.isdisjoint(sys.modules)

def test_with(emitted_events):
    from dispatcher import tracker
    tracker.emit("shop.order.paid", {"order": 17})
    emitted_events.one("shop.order.paid", order=17)

def test_afterwards(emitted_events):
    assert emitted_events.events == []
""")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout


def test_what_is_bound_outside_a_test_is_not_in_it_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "test_app.py").write_text("""
from dispatcher import tracker

def test_before():
    tracker.enter_context("before", {"a": 1})

def test_with(emitted_events):
    tracker.emit("shop.seen")
    assert emitted_events.one("shop.seen").context == {}
    tracker.enter_context("left over", {"b": 2})

def test_afterwards():
    assert tracker.get_tracker().resolve_context() == {"a": 1}
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "3 passed" in done.stdout, done.stdout
