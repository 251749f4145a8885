"""The router of event-tracking's API: processors in a row, backends beside each other."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from dispatcher.contrib.eventtracking.backends.logger import LoggerBackend
from dispatcher.contrib.eventtracking.backends.routing import RoutingBackend
from dispatcher.contrib.eventtracking.processors.exceptions import (
    EventEmissionExit,
    NoBackendEnabled,
    NoTransformerImplemented,
)
from dispatcher.contrib.eventtracking.processors.whitelist import NameWhitelistProcessor

EVENT = {"name": "a", "data": {"list": [1, {"deep": True}]}, "context": {"email": "mia@school.example"}}


class Memory:
    """A backend that keeps the object that it gets, and raises if told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[Any] = []
        self.error = error

    def send(self, event: Any) -> None:
        self.events.append(event)
        if self.error is not None:
            raise self.error


def rename(event: Any) -> Any:
    return {**event, "name": "renamed"}


def change_in_place(event: Any) -> None:
    event["data"]["list"][1]["deep"] = "changed"


def drop(event: Any) -> None:
    raise EventEmissionExit


def fail(event: Any) -> None:
    raise ValueError(f"cannot read {event['context']['email']}")


@pytest.mark.parametrize(
    ("processors", "name", "deep"),
    [
        ([], "a", True),
        ([rename], "renamed", True),
        ([change_in_place], "a", "changed"),
        ([rename, change_in_place], "renamed", "changed"),
        ([fail, rename], "renamed", True),
        ([NameWhitelistProcessor(["a"]), rename], "renamed", True),
    ],
)
def test_backends_get_what_the_processors_made(processors: list[Any], name: str, deep: object) -> None:
    memory, event = Memory(), deepcopy(EVENT)
    RoutingBackend({"memory": memory}, processors).send(event)
    assert (memory.events[0]["name"], memory.events[0]["data"]["list"][1]["deep"]) == (name, deep)
    assert event == EVENT
    assert memory.events[0]["data"] is not event["data"]


def test_a_processor_drops_an_event_for_its_router_alone() -> None:
    left, right = Memory(), Memory()
    routers = {"left": RoutingBackend({"left": left}, [drop, fail]), "right": RoutingBackend({"right": right})}
    RoutingBackend(routers).send(EVENT)
    assert (left.events, right.events) == ([], [EVENT])


def test_what_a_processor_changes_no_sibling_sees() -> None:
    left, right = Memory(), Memory()
    routers = {"a": RoutingBackend({"left": left}, [change_in_place]), "b": RoutingBackend({"right": right})}
    RoutingBackend(routers).send(EVENT)
    assert left.events[0]["data"]["list"][1]["deep"] == "changed"
    assert right.events == [EVENT]


def test_backends_are_asked_by_name_and_one_that_fails_harms_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order: list[str] = []

    class Recorder(Memory):
        def send(self, event: Any) -> None:
            order.append(self.name)
            super().send(event)

        def __init__(self, name: str) -> None:
            super().__init__(ValueError("mia@school.example is unknown") if name == "1" else None)
            self.name = name

    router = RoutingBackend({name: Recorder(name) for name in "20143"}, [fail])
    router.send(EVENT)
    assert order == list("01234")
    assert "the backend 1 failed to take the event 'a'" in caplog.text
    assert "the processor function failed on the event 'a'" in caplog.text
    assert "test_routing.py" in caplog.text
    assert "mia@school.example" not in caplog.text


@pytest.mark.parametrize("error", [NoTransformerImplemented("x"), NoBackendEnabled("x")])
def test_a_backend_that_does_not_take_an_event_has_not_failed(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    assert RoutingBackend({"xapi": Memory(error)}).send_to(EVENT) == {}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_some_backends_get_an_event_again() -> None:
    good, bad = Memory(), Memory(OSError("away"))
    router = RoutingBackend({"good": good, "bad": bad})
    failed = router.send_to(EVENT)
    assert list(failed) == ["bad"]
    assert list(router.send_to(EVENT, list(failed))) == ["bad"]
    assert (len(good.events), len(bad.events)) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"backends": {"a": "b"}}, "Backend str does not have a callable \"send\" method. Give 'a' an object"),
        ({"backends": {"a": {"OPTIONS": {}}}}, 'Backend dict does not have a callable "send" method'),
        ({"processors": [object()]}, "Processor object is not callable. Give a function"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_type(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="Give") as raised:
        RoutingBackend(**arguments)
    assert text in str(raised.value)


def test_nothing_is_copied_where_nothing_can_change_it() -> None:
    class Uncopied(dict[str, Any]):
        def __deepcopy__(self, memo: object) -> None:
            raise AssertionError("it was copied")

    seen: list[Any] = []
    logger = LoggerBackend(name="tests.eventtracking")
    logger.log = seen.append
    inner = RoutingBackend({"logger": logger}, [NameWhitelistProcessor(["a"])])
    RoutingBackend({"tracking_logs": inner}).send(Uncopied(name="a"))
    assert seen == ['{"name": "a"}']
