"""emit: what it returns and what is in the outbox afterwards, in every thread and child process."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dispatcher
from dispatcher import config, tracker
from dispatcher.errors import OutboxError, OutboxFullError, SettingsError
from dispatcher.event import Event, decode
from dispatcher.outbox import MemoryOutbox, Reader, find_outboxes
from dispatcher.testing import Captured, capture
from dispatcher.tracker import Tracker
from tests.support.outboxes import events_in, make_outbox, make_tracker, read_directory
from tests.support.scripts import run_script

MOMENT = datetime(2026, 11, 23, 13, 50, 44, 123456, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def captured() -> Iterator[Captured]:
    with capture() as captured:
        yield captured


# What it makes of an event


def test_emit_returns_the_id_of_the_event(captured: Captured) -> None:
    event_id = tracker.emit("shop.order.paid", {"order": 17})
    assert UUID(event_id).version == 7
    assert captured.one("shop.order.paid").id == event_id


def test_the_event_has_the_time_of_the_call(captured: Captured) -> None:
    before = datetime.now(UTC)
    tracker.emit("shop.order.paid")
    after = datetime.now(UTC)
    assert before <= captured.one("shop.order.paid").timestamp <= after


def test_the_wire_is_compact_json_of_six_fields_in_order() -> None:
    one = Tracker(outbox=(outbox := MemoryOutbox()))
    for _ in range(2):  # the first of a name goes another way than the rest
        with one.context("request", {"user_id": 7, "host": "größe"}):
            one.emit("shop.order.paid", {"order": 17, "note": 'a "b"\n'})
    for payload in outbox.payloads:
        wire = json.loads(payload)
        assert list(wire) == ["id", "type", "name", "timestamp", "data", "context"]
        assert wire["type"] == "event"
        assert wire["timestamp"].endswith("Z")
        assert (
            b'"data":{"order":17,"note":"a \\"b\\"\\n"},"context":{"user_id":7,"host":"gr\xc3\xb6\xc3\x9fe"}}'
            in payload
        )


def test_later_changes_by_the_caller_change_no_event(captured: Captured) -> None:
    data: dict[str, Any] = {"items": ["a"]}
    tracker.emit("shop.order.paid", data)
    tracker.emit("shop.order.paid", data)
    data["items"].append("b")
    assert [event.data for event in captured.events] == [{"items": ["a"]}] * 2


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    # "null" is what NaN would look like too.
    | st.sampled_from(["null", "", "ä"])
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet="null", max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    data=st.dictionaries(st.text(alphabet="abnul", max_size=5), JSON, max_size=4),
    context=st.dictionaries(st.text(alphabet="abnul", max_size=5), JSON, max_size=4),
)
def test_any_data_and_context_arrive_unchanged_each_time(data: dict[str, Any], context: dict[str, Any]) -> None:
    one = Tracker(outbox=(outbox := MemoryOutbox()), strict=True)
    with one.context("request", context):
        ids = [one.emit("shop.order.paid", data) for _ in range(2)]
    first, second = (decode(payload) for payload in outbox.payloads)
    assert [first.id, second.id] == ids
    for event in (first, second):
        assert (event.type, event.name, event.data, event.context) == ("event", "shop.order.paid", data, context)


@given(data=st.dictionaries(st.text(max_size=3), JSON | st.floats(), max_size=4), padding=st.integers(0, 3))
def test_a_non_finite_number_is_never_written_as_null(data: dict[str, Any], padding: int) -> None:
    one = Tracker(outbox=(outbox := MemoryOutbox()))
    with one.context("request", {"null"[:padding]: None}):
        for _ in range(2):
            one.emit("shop.order.paid", data)
    try:
        json.dumps(data, allow_nan=False).encode("utf-8", "strict")
        "".join(data).encode()
        expected = "event"
    except ValueError:
        expected = "dead"
    assert [decode(payload).type for payload in outbox.payloads] == [expected] * 2


def test_more_than_ten_thousand_names_are_accepted(captured: Captured) -> None:
    for number in range(10_500):
        tracker.emit(f"shop.order.n{number}")
    tracker.emit("shop.order.n0")
    assert len(captured.names) == 10_501


# What an import brings with it


def test_an_event_may_have_its_own_time_context_and_id(captured: Captured) -> None:
    with tracker.context("request", {"user_id": 7}):
        returned = tracker.get_tracker().submit(
            "event", "edx.video.played", {"id": "v1"}, timestamp=MOMENT, context={"user_id": 8}, event_id="recorded-1"
        )
    assert returned == "recorded-1"
    assert captured.events == [
        Event(id="recorded-1", name="edx.video.played", timestamp=MOMENT, data={"id": "v1"}, context={"user_id": 8})
    ]


def test_an_event_with_an_empty_context_gets_no_bound_context(captured: Captured) -> None:
    with tracker.context("request", {"user_id": 7}):
        tracker.get_tracker().submit("event", "edx.video.played", {}, context={})
    assert captured.one("edx.video.played").context == {}


@pytest.mark.parametrize(
    "moment",
    [MOMENT.replace(tzinfo=None), MOMENT.astimezone(timezone(timedelta(hours=5, minutes=45))), MOMENT],
    ids=["naive", "elsewhere", "UTC"],
)
def test_a_time_is_written_in_utc_and_a_naive_one_is_taken_as_utc(moment: datetime) -> None:
    Tracker(outbox=(outbox := MemoryOutbox())).submit("event", "edx.video.played", {}, timestamp=moment)
    assert b'"timestamp":"2026-11-23T13:50:44.123456Z"' in outbox.payloads[0]


# The default tracker


def test_the_modules_functions_use_the_default_tracker() -> None:
    mine = Tracker(outbox=(outbox := MemoryOutbox()))
    before = tracker.set_tracker(mine)
    try:
        assert tracker.get_tracker() is mine
        tracker.emit("shop.order.paid")
        assert len(outbox.payloads) == 1
        assert dispatcher.flush(0) is True
    finally:
        assert tracker.set_tracker(before) is mine
    tracker_now = tracker.get_tracker()
    assert tracker_now is before


def test_nothing_is_written_to_disk_before_the_first_event(root: Path) -> None:
    one = make_tracker(root)
    with one.context("request", {"a": 1}):
        assert not root.exists()
    assert one.flush(0) is True
    one.close()
    assert not root.exists()


def test_settings_in_code_win_and_take_effect_with_the_next_event(root: Path) -> None:
    settings = dispatcher.configure(relay={"mode": "external"}, outbox={"directory": str(root)}, strict=False)
    assert settings.outbox_directory == root
    tracker.emit("shop.order.paid")
    assert [event.name for event in events_in(root)] == ["shop.order.paid"]
    dispatcher.configure(relay={"mode": "external"}, outbox__directory=str(root / "other"))
    tracker.emit("shop.order.lost")
    assert [event.name for event in events_in(root / "other")] == ["shop.order.lost"]


def test_a_wrong_configuration_reports_all_mistakes_and_changes_nothing(captured: Captured) -> None:
    with pytest.raises(SettingsError) as caught:
        dispatcher.configure(outbox={"max_byte": 5}, processors=["no_such_module:f"])
    assert "outbox.max_byte" in str(caught.value)
    with pytest.raises(SettingsError, match="no_such_module"):
        dispatcher.configure(processors=["no_such_module:f"])
    with pytest.raises(TypeError, match=r"give either settings or overrides \(strict\), not both"):
        dispatcher.configure(config.load({}), strict=True)
    tracker.emit("shop.order.paid")
    assert captured.names == ["shop.order.paid"]


# The durable outbox


def test_an_event_is_on_disk_when_emit_returns(root: Path) -> None:
    one = make_tracker(root)
    with one.context("request", {"user_id": 7}):
        event_id = one.emit("shop.order.paid", {"order": 17})
    (event,) = events_in(root)
    assert (event.id, event.data, event.context) == (event_id, {"order": 17}, {"user_id": 7})
    one.close()


def test_closing_keeps_waiting_events_and_the_next_one_opens_another_outbox(root: Path) -> None:
    one = make_tracker(root)
    one.emit("first")
    one.close()
    one.close()
    one.emit("second")
    assert len(find_outboxes(root)) == 2
    assert {event.name for event in events_in(root)} == {"first", "second"}
    one.close()


def test_flush_returns_whether_all_is_relayed_within_its_timeout(root: Path) -> None:
    one = make_tracker(root)
    one.emit("first")
    started = time.monotonic()
    assert one.flush(0.05) is False
    assert time.monotonic() - started >= 0.05
    outbox = one._outbox
    assert outbox is not None
    done = threading.Event()

    def relay() -> None:
        (directory,) = find_outboxes(root)
        reader = Reader(directory)
        _, ends = reader.read()
        reader.commit(ends[-1])
        reader.discard_before(ends[-1])
        reader.close()
        done.set()

    thread = threading.Thread(target=relay)
    thread.start()
    assert one.flush(60) is True
    assert done.wait(60)
    thread.join()
    one.close()


def test_a_full_outbox_refuses_and_counts_events_and_logs_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = make_tracker(root, max_event_bytes=1_000, journal_bytes=8_192, max_bytes=16_384)
    ids = [one.emit("shop.order.paid", {"n": n, "x": "x" * 500}) for n in range(60)]
    assert len(set(ids)) == 60
    kept = events_in(root)
    assert 10 < len(kept) < 60
    assert one.refused == 60 - len(kept)
    # The last ones were refused, not any in between.
    assert [event.id for event in kept] == ids[: len(kept)]
    (message,) = caplog.messages
    assert message.startswith("events are refused, 1 so far in this process, shop.order.paid the latest: the outbox ")
    assert "is full" in message
    one.close()


def test_strict_raises_if_the_outbox_is_full(root: Path) -> None:
    one = make_tracker(root, strict=True, max_event_bytes=1_000, journal_bytes=8_192, max_bytes=16_384)

    def fill() -> None:
        for _ in range(1_000):
            one.emit("shop.order.paid", {"x": "x" * 800})

    for _ in range(3):
        with pytest.raises(OutboxFullError, match=r"is full .* outbox\.max_bytes is 16,384"):
            fill()
    assert len(events_in(root)) == 16
    one.close()


def test_an_outbox_of_the_least_size_accepts_events_again_once_drained(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.outbox.outbox._REFUSE_SECONDS", 0.0)
    one = make_tracker(root, max_event_bytes=1_000, journal_bytes=8_192, max_bytes=16_384)
    for _ in range(3):
        emitted = one.refused
        while one.refused == emitted:
            one.emit("shop.order.paid", {"x": "x" * 500})
        (directory,) = find_outboxes(root)
        reader = Reader(directory)
        while (found := reader.read())[0]:
            reader.commit(found[1][-1])
            reader.discard_before(found[1][-1])
        reader.close()
        before = one.refused
        one.emit("shop.order.paid", {"x": "x" * 800})
        assert one.refused == before
    one.close()


def test_an_outbox_is_made_later_if_it_cannot_be_made_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.tracker.tracker._REOPEN_SECONDS", 0.0)
    (tmp_path / "var").write_text("in the way")
    one = make_tracker(tmp_path / "var" / "outbox")
    one.emit("first")
    (tmp_path / "var").unlink()
    one.emit("second")
    assert [event.name for event in events_in(tmp_path / "var" / "outbox")] == ["second"]
    assert one.refused == 1
    one.close()


def test_emit_does_not_try_to_open_the_outbox_with_every_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    tries: list[object] = []

    def refuse(*_: object, **__: object) -> None:
        tries.append(1)
        raise OutboxError("no")

    monkeypatch.setattr("dispatcher.tracker.opening.Outbox", refuse)
    one = make_tracker(tmp_path / "file")
    for _ in range(1_000):
        one.emit("shop.order.paid")
    assert len(tries) < 5
    assert one.refused == 1_000


def test_flush_says_once_that_events_were_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = make_tracker(tmp_path / "file")
    assert one.flush(0) is True
    one.emit("shop.order.paid")
    assert one.flush(0) is False
    assert one.flush(0) is True


def test_an_event_emitted_while_the_outbox_closes_is_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    outbox = make_outbox(root)
    one = Tracker(outbox=outbox)
    one.emit("shop.order.paid")
    outbox.close()
    one.emit("shop.order.paid")
    one.emit("shop.order.other")
    assert one.refused == 2
    assert "is closed" in caplog.text


# Threads, signals, children


def test_many_threads_emit_a_hundred_thousand_events_once_and_in_order(root: Path) -> None:
    one = make_tracker(root)
    threads, each = 5, 20_000
    start = threading.Barrier(threads)
    ids: list[list[str]] = [[] for _ in range(threads)]

    def run(thread: int) -> None:
        start.wait()
        with one.context("thread", {"thread": thread}):
            ids[thread] = [one.emit("shop.order.paid", {"n": number}) for number in range(each)]

    running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    found: list[list[str]] = [[] for _ in range(threads)]
    for event in events_in(root):
        assert event.data == {"n": len(found[event.context["thread"]])}
        found[event.context["thread"]].append(event.id)
    assert found == ids
    assert len({event_id for each_thread in ids for event_id in each_thread}) == threads * each
    one.close()


def test_simultaneous_first_events_of_many_threads_open_one_outbox(root: Path) -> None:
    one = make_tracker(root)
    start = threading.Barrier(8)

    def run() -> None:
        start.wait()
        one.emit("shop.order.paid")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(find_outboxes(root)) == 1
    assert len(events_in(root)) == 8
    one.close()


@pytest.mark.timeout(60, method="thread")
def test_a_signal_handler_that_emits_does_not_disturb_a_running_emit(root: Path) -> None:
    one = make_tracker(root, max_event_bytes=4_000, journal_bytes=65_536)
    handled: list[str] = []
    emitted: list[str] = []

    def handle(*_: object) -> None:
        handled.append(one.emit("signal.came", {"n": len(handled)}))

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
        deadline = time.monotonic() + 30
        while len(handled) < 200 and time.monotonic() < deadline:
            emitted.append(one.emit("shop.order.paid", {"n": len(emitted), "x": "x" * 300}))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    events = events_in(root)
    assert [event.id for event in events if event.name == "shop.order.paid"] == emitted
    assert sorted(event.id for event in events if event.name == "signal.came") == sorted(handled)
    assert len(handled) >= 200
    one.close()


def test_a_child_emits_into_its_own_outbox_with_its_own_ids(root: Path) -> None:
    code = """
tracker = make_tracker(root)
with tracker.context("request", {"user_id": 7}):
    first = tracker.emit("parent")
    child = os.fork()
    if child == 0:
        for _ in range(100):
            tracker.emit("child")
        tracker.close()
        os._exit(0)
    os.waitpid(child, 0)
    for _ in range(100):
        tracker.emit("parent")
from tests.support.outboxes import events_in
from dispatcher.outbox import find_outboxes
events = events_in(root)
print(len(find_outboxes(root)), [event.name for event in events].count("parent"), len({event.id for event in events}))
print({event.context["user_id"] for event in events})
"""
    assert run_script(code, root).splitlines() == ["2 101 201", "{7}"]


def test_a_child_that_emits_nothing_does_not_touch_its_parents_outbox(root: Path) -> None:
    code = """
tracker = make_tracker(root)
tracker.emit("parent")
child = os.fork()
if child == 0:
    tracker.close()
    assert tracker.flush(0) is True
    os._exit(0)
print(os.waitpid(child, 0)[1])
tracker.emit("parent")
from dispatcher.outbox import find_outboxes, Reader
(directory,) = find_outboxes(root)
reader = Reader(directory)
print(reader.writer_is_dead, len(reader.read()[0]))
"""
    assert run_script(code, root).splitlines() == ["0", "False 2"]


def test_a_killed_process_leaves_all_its_events(root: Path) -> None:
    code = """
child = os.fork()
if child == 0:
    tracker = make_tracker(root)
    for number in range(20_000):
        tracker.emit("shop.order.paid", {"n": number})
    os.kill(os.getpid(), 9)
os.waitpid(child, 0)
"""
    run_script(code, root)
    (directory,) = find_outboxes(root)
    assert [decode(payload).data["n"] for payload in read_directory(directory)] == list(range(20_000))


def test_an_exit_loses_no_event(root: Path) -> None:
    code = """
import dispatcher
from dispatcher import tracker
dispatcher.configure(relay={"mode": "external"}, outbox={"directory": str(root)})
atexit.register(lambda: tracker.emit("before the tracker's own handler"))
tracker.emit("first")
"""
    # What is registered before dispatcher is imported is called after the tracker has closed its outbox.
    run_script(code, root, first="import atexit\natexit.register(lambda: tracker.emit('after it'))\n")
    names = ["after it", "before the tracker's own handler", "first"]
    assert sorted(event.name for event in events_in(root)) == names


def test_without_a_relay_thread_events_wait_in_the_outbox(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    settings = config.load({}, {"outbox": {"directory": str(root)}, "relay": {"mode": "thread"}})
    one = Tracker(settings)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        one.emit("shop.order.paid")
    assert [event.name for event in events_in(root)] == ["shop.order.paid"]
    assert "the relay's thread cannot be started: can't start new thread" in caplog.text
    one.close()
