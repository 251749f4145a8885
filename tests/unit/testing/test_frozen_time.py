"""Tests that freeze the time: events have the frozen time, and everything that waits or has to be unique has not."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from freezegun import freeze_time

from dispatcher import segment, tracker
from dispatcher.connections.deadline import Deadline
from dispatcher.testing import Captured
from tests.support.outboxes import events_in, make_tracker
from tests.support.scripts import ROOT, run_script

THEN = datetime(2001, 2, 3, 4, 5, 6, 789, tzinfo=UTC)


def test_events_have_the_frozen_time(emitted_events: Captured) -> None:
    with freeze_time(THEN) as clock:
        tracker.emit("shop.order.paid", {"when": datetime.now(UTC)})
        clock.tick(timedelta(seconds=1))
        tracker.emit("shop.order.paid", {"when": datetime.now()})
        segment.track(7, "Order Paid")
    tracker.emit("shop.order.paid")

    first, second, third, fourth = emitted_events.events
    assert first.timestamp == THEN
    assert first.data == {"when": "2001-02-03T04:05:06.000789Z"}
    assert second.timestamp == third.timestamp == THEN + timedelta(seconds=1)
    assert second.data == {"when": "2001-02-03T04:05:07.000789"}
    assert fourth.timestamp - datetime.now(UTC) < timedelta(minutes=1)
    assert {type(event.timestamp) for event in emitted_events.events} == {datetime}


def test_ids_stay_unique_in_order_and_of_the_present(emitted_events: Captured) -> None:
    began = time.time()
    for when in ("1903-01-01", "2001-01-01", "2999-01-01"):
        with freeze_time(when):
            for _ in range(3000):
                tracker.emit("shop.order.paid")

    ids = [UUID(event.id) for event in emitted_events.events]
    assert len(set(ids)) == len(ids)
    assert {one.version for one in ids} == {7}
    assert all(began - 1 < (one.int >> 80) / 1000 < time.time() + 1 for one in ids)


def test_a_flush_ends_in_frozen_time(tmp_path: Path) -> None:
    one = make_tracker(tmp_path / "outbox")
    try:
        with freeze_time(THEN):
            one.emit("shop.order.paid")
            assert not one.flush(0.05)
    finally:
        one.close()
    (event,) = events_in(tmp_path / "outbox")
    assert event.timestamp == THEN


def test_deadlines_go_on_in_frozen_time(tmp_path: Path) -> None:
    with freeze_time(THEN):
        deadline = Deadline(60)
        before = deadline.left()
        time.sleep(0.01)
        assert deadline.left() < before


# But for the rooms of commands: pandas, which pyiceberg imports, crashes in frozen time.
IMPORT_FROZEN = """
import importlib, pkgutil
from freezegun import freeze_time
with freeze_time("2001-02-03"):
    import dispatcher
    for module in pkgutil.walk_packages(dispatcher.__path__, "dispatcher."):
        is_left_out = {"exports", "forgetting", "__main__", "plugin"} & set(module.name.split("."))
        if not is_left_out:
            importlib.import_module(module.name)
"""
EMIT = """
from datetime import UTC, datetime
from dispatcher.edx_log.parse import read_line
from dispatcher.edx_log.render import renderer
from dispatcher.event import Event, decode, encode
now = datetime.now(UTC)
one = make_tracker(root, strict=True)
one.submit("event", "shop.order.paid", {"when": now, "date": now.date(), "took": now - now}, timestamp=now)
one.emit("shop.order.paid")
assert not one.flush(0.01)
one.close()
payloads = read_root(root)
assert len(payloads) == 2
for payload in payloads:
    event = decode(payload)
    assert type(event.timestamp) is type(now)
    assert abs((event.timestamp - now).total_seconds()) < 60
    assert abs((int(event.id[:8] + event.id[9:13], 16) / 1000) - now.timestamp()) < 60
    for line_format in ("edx", "tutor", "event"):
        again = read_line(renderer(line_format, ids=True)(payload))
        assert (again.id, again.timestamp) == (event.id, event.timestamp)
print("fine")
"""


def test_an_import_in_frozen_time_harms_nothing_later(tmp_path: Path) -> None:
    assert run_script(EMIT, tmp_path / "outbox", first=IMPORT_FROZEN) == "fine\n"


def test_what_runs_in_an_app_waits_by_clocks_that_no_test_freezes() -> None:
    rooms = ("tracker", "emit", "outbox", "relay", "connections")
    paths = [path for room in rooms for path in (ROOT / "dispatcher" / room).rglob("*.py")]
    assert len(paths) > 20
    frozen = re.compile(r"\btime\.(monotonic|time|perf_counter)(_ns)?\b(?!``)|from time import (?!sleep)")
    assert [str(path) for path in paths if frozen.search(path.read_text())] == []
