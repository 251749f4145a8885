"""The tracker that Django's settings make, the switches, and the event bus."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("django")
from django.conf import UserSettingsHolder, global_settings, settings  # type: ignore[import-untyped]
from django.test.utils import override_settings  # type: ignore[import-untyped]
from django.utils.functional import empty  # type: ignore[import-untyped]

from dispatcher.contrib.eventtracking import tracker
from dispatcher.contrib.eventtracking.backends.routing import RoutingBackend
from dispatcher.contrib.eventtracking.config import SEND_TRACKING_EVENT_EMITTED_SIGNAL
from dispatcher.contrib.eventtracking.django import DjangoTracker
from dispatcher.contrib.eventtracking.django.django_tracker import override_default_tracker
from dispatcher.testing import Captured

HERE = "dispatcher.contrib.eventtracking"
TIME = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TREE = {
    "tracking_logs": {
        "ENGINE": f"{HERE}.backends.routing.RoutingBackend",
        "OPTIONS": {
            "backends": {
                "logger": {"ENGINE": f"{HERE}.backends.logger.LoggerBackend", "OPTIONS": {"max_event_size": 5}},
                "dispatcher": {"ENGINE": f"{HERE}.DispatcherBackend"},
            },
            "processors": [
                {"ENGINE": f"{HERE}.processors.whitelist.NameWhitelistProcessor", "OPTIONS": {"whitelist": ["a", "b"]}},
                {"ENGINE": f"{HERE}.processors.regex_filter.RegexFilter", "OPTIONS": {"regular_expressions": ["a"]}},
            ],
        },
    }
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Django's own settings, for this test alone, and no default tracker that was registered."""
    monkeypatch.setitem(tracker.TRACKERS, "default", None)
    monkeypatch.delitem(tracker.TRACKERS, "default")
    settings._wrapped = UserSettingsHolder(global_settings)
    yield
    settings._wrapped = empty


@override_settings(EVENT_TRACKING_BACKENDS=TREE)
def test_a_tree_of_settings_becomes_a_tree_of_objects(emitted_events: Captured) -> None:
    made = DjangoTracker()
    router = made.get_backend("tracking_logs")
    assert isinstance(router, RoutingBackend)
    assert list(router.backends) == ["dispatcher", "logger"]
    assert router.backends["logger"].max_event_size == 5
    with made.context("request", {"user_id": 7}):
        for name in "abc":
            made.emit(name, {"n": 1})
    assert emitted_events.names == ["a"]
    assert emitted_events.events[0].context == {"user_id": 7}


@override_settings(
    OWN_BACKENDS={},
    OWN_PROCESSORS=[{"ENGINE": f"{HERE}.processors.whitelist.NameWhitelistProcessor", "OPTIONS": {"whitelist": []}}],
)
def test_settings_may_have_other_names() -> None:
    made = DjangoTracker("OWN_BACKENDS", "OWN_PROCESSORS")
    assert (len(made.backends), len(made.processors)) == (0, 1)


@override_settings(EVENT_TRACKING_ENABLED=True)
def test_without_backends_in_the_settings_events_go_to_dispatcher(emitted_events: Captured) -> None:
    override_default_tracker()
    tracker.emit("a.b", {"n": 1})
    assert emitted_events.names == ["a.b"]
    assert isinstance(tracker.get_tracker(), DjangoTracker)


@override_settings(EVENT_TRACKING_ENABLED=False, EVENT_TRACKING_BACKENDS=TREE)
def test_switched_off_events_go_nowhere_and_a_registered_tracker_stays(emitted_events: Captured) -> None:
    override_default_tracker()
    tracker.emit("a")
    assert emitted_events.names == []
    own = tracker.Tracker()
    tracker.register_tracker(own)
    override_default_tracker()
    assert tracker.get_tracker() is own


@pytest.mark.parametrize("engine", ["", "Backend", "nowhere.Backend", f"{HERE}.Nothing", None])
def test_a_class_that_is_not_there_is_named_with_its_place(engine: str | None) -> None:
    backends = {
        "a": {"ENGINE": f"{HERE}.backends.routing.RoutingBackend", "OPTIONS": {"backends": {"b": {"ENGINE": engine}}}}
    }
    place = r"^EVENT_TRACKING_BACKENDS\['a'\]\['OPTIONS'\]\['backends'\]\['b'\]\['ENGINE'\]: .* cannot be imported"
    with override_settings(EVENT_TRACKING_BACKENDS=backends), pytest.raises(ValueError, match=place):
        DjangoTracker()


@pytest.mark.parametrize("given", [{"EVENT_TRACKING_BACKENDS": {"a": {}}}, {"EVENT_TRACKING_PROCESSORS": [{}]}])
def test_an_entry_without_a_class_is_refused(given: dict[str, Any]) -> None:
    with override_settings(**given), pytest.raises(ValueError, match="a dict with its ENGINE"):
        DjangoTracker()


@pytest.mark.parametrize(("value", "on"), [(True, True), (False, False), (None, False)])
def test_a_switch_is_looked_up_at_each_call(value: object, on: bool) -> None:
    with override_settings(SEND_TRACKING_EVENT_EMITTED_SIGNAL=value):
        assert SEND_TRACKING_EVENT_EMITTED_SIGNAL.is_enabled() is on
    with override_settings():
        assert not SEND_TRACKING_EVENT_EMITTED_SIGNAL.is_enabled()


@pytest.mark.parametrize(("on", "name", "sent"), [(True, "a", 1), (True, "b", 0), (False, "a", 0)])
def test_the_event_bus_gets_what_is_listed_where_it_is_on(
    on: bool, name: str, sent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openedx_events")
    from dispatcher.contrib.eventtracking.backends import event_bus

    logs: list[Any] = []
    signal = SimpleNamespace(send_event=lambda *, tracking_log: logs.append(tracking_log))
    monkeypatch.setattr(event_bus, "TRACKING_EVENT_EMITTED", signal)
    event = {"name": name, "timestamp": TIME.isoformat(), "data": {"at": TIME}, "context": {"user_id": 7}}
    with override_settings(SEND_TRACKING_EVENT_EMITTED_SIGNAL=on, EVENT_BUS_TRACKING_LOGS=["a"]):
        event_bus.EventBusRoutingBackend().send(event)
    assert len(logs) == sent
    for log in logs:
        assert (log.name, log.timestamp, json.loads(log.context)) == ("a", TIME, {"user_id": 7})
        assert json.loads(log.data) == {"at": "2026-03-04T05:06:07+00:00"}


@pytest.mark.parametrize(("brought", "name", "taken"), [(True, "a", 1), (True, "b", 0), (False, "a", 0)])
def test_what_the_bus_brings_goes_through_its_router(brought: bool, name: str, taken: int) -> None:
    pytest.importorskip("openedx_events")
    from dispatcher.contrib.eventtracking.backends.event_bus import EventBusRoutingBackend
    from dispatcher.contrib.eventtracking.handlers import send_tracking_log_to_backends
    from dispatcher.contrib.eventtracking.processors.whitelist import NameWhitelistProcessor

    events: list[Any] = []
    memory = SimpleNamespace(send=events.append)
    router = EventBusRoutingBackend([NameWhitelistProcessor(["a"])], {"memory": memory}, backend_name="bus")
    tracker.register_tracker(tracker.Tracker({"bus": router, "other": RoutingBackend({"memory": memory})}))
    log = SimpleNamespace(name=name, timestamp=TIME, data='{"n": 1}', context="{}")
    send_tracking_log_to_backends(None, None, tracking_log=log, from_event_bus=brought)
    assert events == [{"name": "a", "timestamp": TIME, "data": {"n": 1}, "context": {}}] * taken
