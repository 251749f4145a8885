"""Objects that act when they are looked at, as querysets do: emit leaves them alone, and never raises."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.utils.functional import SimpleLazyObject

from dispatcher.errors import InvalidEventError
from dispatcher.event import decode
from dispatcher.outbox import MemoryOutbox
from dispatcher.tracker import Tracker

ASKED: list[str] = []


def _ask(what: str) -> Any:
    ASKED.append(what)
    raise RuntimeError("a query was run")


class Queryset:
    """Runs a query for whatever is asked of it, as Django's does for its repr, its length and its items."""

    __iter__ = __len__ = __bool__ = __repr__ = __str__ = __eq__ = lambda self, *_: _ask("queryset")
    __getitem__ = __contains__ = __float__ = __int__ = __index__ = __bytes__ = lambda self, *_: _ask("queryset")

    def __hash__(self) -> int:
        return 7

    def __getattr__(self, name: str) -> Any:
        return _ask(name)

    @property
    def __class__(self) -> Any:
        return _ask("class")


LAZY: dict[str, Callable[[], Any]] = {
    "a queryset": Queryset,
    "a lazy user": lambda: SimpleLazyObject(lambda: _ask("user")),
    "a list of querysets": lambda: [1, Queryset()],
    "a set of querysets": lambda: {Queryset()},
    "a queryset within a dict": lambda: {"a": {"b": (Queryset(),)}},
    "a queryset as a key": lambda: {Queryset(): 1},
}


def send_as_everything(tracker: Tracker, value: Any) -> list[Callable[[], str]]:
    def in_context() -> str:
        with tracker.context("request", {"user": value}):
            return tracker.emit("shop.order.paid", {"order": 17})

    return [
        lambda: tracker.emit("shop.order.paid", {"value": value}),
        lambda: tracker.emit("shop.order.paid", value),
        lambda: tracker.emit(value),
        lambda: tracker.submit("event", "shop.order.paid", {}, timestamp=value),
        lambda: tracker.submit("event", "shop.order.paid", {}, event_id=value),
        lambda: tracker.submit("event", "shop.order.paid", {}, context=value),
        in_context,
    ]


@pytest.mark.parametrize("make", LAZY.values(), ids=LAZY)
def test_emit_keeps_a_lazy_object_as_a_dead_letter_without_asking_it(
    make: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    ASKED.clear()
    outbox = MemoryOutbox()
    tracker = Tracker(outbox=outbox)
    for send in send_as_everything(tracker, make()):
        send()
        event = decode(outbox.payloads.pop())
        assert event.type == "dead"
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not ASKED


@pytest.mark.parametrize("make", LAZY.values(), ids=LAZY)
def test_strict_names_the_type_of_a_lazy_object_without_asking_it(make: Callable[[], Any]) -> None:
    ASKED.clear()
    for send in send_as_everything(Tracker(outbox=MemoryOutbox(), strict=True), make()):
        with pytest.raises(InvalidEventError, match=r"shop\.order\.paid|the event name"):
            send()
    assert not ASKED


def test_a_lazy_user_is_no_context_and_is_not_asked() -> None:
    ASKED.clear()
    with pytest.raises(TypeError, match="must be a dict, not a SimpleLazyObject"):
        Tracker.enter_context("request", SimpleLazyObject(lambda: _ask("user")))
    assert not ASKED
