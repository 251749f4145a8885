"""Processors: the order of their calls, their arguments, and what the settings may name."""

from __future__ import annotations

import logging
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dispatcher import config
from dispatcher.emit import processors
from dispatcher.emit.processors import Processor
from dispatcher.errors import DropEvent, ProcessorError, SettingsError
from dispatcher.event import Event, decode
from dispatcher.outbox import MemoryOutbox
from dispatcher.tracker import Tracker
from tests.support.outboxes import events_in

SOURCE = """
import msgspec
from dispatcher import DropEvent

def shout(event):
    return msgspec.structs.replace(event, data={**event.data, "loud": True})

def drop_bots(event):
    if event.context.get("agent") == "bot":
        raise DropEvent("bot")
    return event

class Group:
    @staticmethod
    def same(event):
        return event

limit = 17
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "site_processors.py").write_text(SOURCE)
    (tmp_path / "site_broken.py").write_text("raise RuntimeError('no database')")
    (tmp_path / "site_syntax.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("site_processors", "site_broken", "site_syntax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "site_processors"


def adding(key: str, value: object) -> Processor:
    def add(event: Event) -> Event:
        return msgspec.structs.replace(event, data={**event.data, key: value})

    return add


def emitted(*chain: Processor, data: Any = None, context: dict[str, Any] | None = None) -> Event:
    tracker = Tracker(outbox=(outbox := MemoryOutbox()), processors=chain, strict=True)
    with tracker.context("request", context or {}):
        tracker.emit("shop.order.paid", data)
    (payload,) = outbox.payloads
    return decode(payload)


def test_processors_are_called_in_order() -> None:
    assert emitted(adding("a", 1), adding("b", 2), adding("a", 3)).data == {"a": 3, "b": 2}


def test_a_processor_gets_the_event_as_a_destination_would() -> None:
    seen: list[Event] = []

    def look(event: Event) -> Event:
        seen.append(event)
        return event

    event = emitted(look, data={"when": datetime(2026, 1, 2), 1: (2,)}, context={"user_id": 7})
    assert seen == [event]
    assert event.data == {"when": "2026-01-02T00:00:00", "1": [2]}
    assert event.context == {"user_id": 7}


def test_a_processor_cannot_change_the_callers_objects() -> None:
    def spoil(event: Event) -> Event:
        event.data["items"].append("more")
        event.context["user_id"] = None
        return event

    data, context = {"items": ["a"]}, {"user_id": 7}
    assert emitted(spoil, data=data, context=context).data == {"items": ["a", "more"]}
    assert (data, context) == ({"items": ["a"]}, {"user_id": 7})


def test_a_processor_may_rename_an_event() -> None:
    assert emitted(lambda event: msgspec.structs.replace(event, name="shop.order.settled")).name == "shop.order.settled"


def test_a_drop_skips_the_following_processors() -> None:
    called: list[Event] = []

    def drop(event: Event) -> Event:
        raise DropEvent

    event = emitted(drop, lambda event: called.append(event) or event)  # type: ignore[func-returns-value]
    assert (event.type, event.data) == ("dropped", {"reason": "processor"})
    assert called == []


def test_a_processor_that_makes_an_event_too_large_is_named() -> None:
    tracker = Tracker(outbox=MemoryOutbox(), processors=[adding("x", "x" * 2_000_000)], strict=True)
    with pytest.raises(Exception, match=r"more than outbox\.max_event_bytes"):
        tracker.emit("shop.order.paid")


def test_a_processor_may_shrink_an_event_below_the_limit() -> None:
    def cut(event: Event) -> Event:
        return msgspec.structs.replace(event, data={})

    assert emitted(cut, data={"x": "x" * 2_000_000}).type == "event"


def test_an_interrupt_in_a_processor_is_raised() -> None:
    def interrupt(event: Event) -> Event:
        raise KeyboardInterrupt

    tracker = Tracker(outbox=MemoryOutbox(), processors=[interrupt])
    with pytest.raises(KeyboardInterrupt):
        tracker.emit("shop.order.paid")


def test_a_processor_without_a_name_is_shown_by_its_type() -> None:
    class Redact:
        def __call__(self, event: Event) -> Event:
            raise ValueError

        def __repr__(self) -> str:
            return "Redact(emails)"

    tracker = Tracker(outbox=MemoryOutbox(), processors=[Redact()], strict=True)
    with pytest.raises(ProcessorError, match=r"the processor 'Redact' failed .* with ValueError: mend it"):
        tracker.emit("shop.order.paid")


def test_a_processor_may_emit_another_event() -> None:
    outbox = MemoryOutbox()

    def announce(event: Event) -> Event:
        if event.name == "shop.order.paid":
            tracker.emit("shop.order.seen")
        return event

    tracker = Tracker(outbox=outbox, processors=[announce], strict=True)
    tracker.emit("shop.order.paid")
    assert [decode(payload).name for payload in outbox.payloads] == ["shop.order.seen", "shop.order.paid"]


def test_the_settings_name_processors_by_module_and_name(module: str) -> None:
    loaded = processors.load([f"{module}:shout", f"{module}:drop_bots"])
    assert [processor.__name__ for processor in loaded] == ["shout", "drop_bots"]
    assert processors.load([]) == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("site_processors:missing", "has no attribute 'missing'"),
        ("site_broken:f", "(RuntimeError, raised in "),
        ("site_syntax:f", "SyntaxError"),
        ("site_processors:limit", "is int, which cannot be called"),
        ("", "ValueError"),
    ],
)
def test_a_processor_that_cannot_be_imported_is_named_with_a_remedy(module: str, name: str, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        processors.load([name])
    assert repr(name) in str(caught.value)
    assert words in str(caught.value)


def test_all_processors_that_cannot_be_imported_are_named_at_once(module: str) -> None:
    with pytest.raises(SettingsError) as caught:
        processors.load(["no_such_module:f", f"{module}:shout", f"{module}:limit"])
    assert len(caught.value.problems) == 2


def test_processors_of_the_settings_come_before_those_of_the_code(module: str, tmp_path: Path) -> None:
    settings = config.load(
        {},
        {
            "processors": [f"{module}:shout"],
            "relay": {"mode": "external"},
            "outbox": {"directory": str(tmp_path / "outbox")},
        },
    )
    tracker = Tracker(settings, processors=[adding("loud", "redacted")])
    tracker.emit("shop.order.paid", {"order": 17})
    (event,) = events_in(tmp_path / "outbox")
    tracker.close()
    assert event.data == {"order": 17, "loud": "redacted"}


def test_emit_does_not_raise_for_processors_that_cannot_be_imported(
    module: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config.load({}, {"processors": ["site_broken:f"], "strict": False, "relay": {"mode": "external"}})
    tracker = Tracker(settings)
    assert tracker.emit("shop.order.paid")
    assert tracker.refused == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "site_broken:f" in caplog.text
