"""Destinations that only browsers reach: configured like all others, without a queue or ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.cli.worker import _check_queues
from dispatcher.config import Settings
from dispatcher.destinations.build import build_destinations
from dispatcher.destinations.options import check_options
from dispatcher.errors import SettingsError
from dispatcher.event import Event, encode
from dispatcher.monitoring.ledger import served
from dispatcher.relay.batching import make_batcher
from dispatcher.replay import Filter, Replay
from dispatcher.routing import Router
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.tasks.celery import make_app


def settings(**more: dict[str, Any]) -> Settings:
    destinations = {"segment": {"events": ["shop.*"]}, "tags": {"type": "google_tag_manager_web", "events": ["shop.*"]}}
    return Settings.model_validate({"destinations": {**destinations, **more}})


def test_a_listed_event_waits_for_the_browser() -> None:
    routes = Router(settings()).route("shop.paid")
    explanation = Router(settings()).explain("shop.paid")[1]

    assert routes.destinations == ("segment",)
    assert routes.skipped == {"tags": "browser"}
    assert (explanation.goes, explanation.entry) == (False, "shop.*")
    assert "browser client" in explanation.sentence


@pytest.mark.parametrize(
    ("table", "name", "reason"),
    [
        ({"events": ["other"]}, "shop.paid", "not_on_allowlist"),
        ({"events": ["*", "!shop.paid"]}, "shop.paid", "excluded"),
        ({"events": ["*"], "internal": False}, "edx.bi.page", "internal"),
        ({"events": ["*"], "enabled": False}, "shop.paid", "disabled"),
    ],
)
def test_rules_that_filter_other_destinations_filter_browsers_too(
    table: dict[str, Any], name: str, reason: str
) -> None:
    router = Router(settings(tags={"type": "optimizely_web", **table}))

    assert router.route(name).skipped["tags"] == reason


def test_direct_calls_do_not_go_to_browsers() -> None:
    assert Router(settings()).route("shop.paid", "track").skipped == {"tags": "direct"}


def test_a_browser_destination_has_no_ledger_and_no_batches() -> None:
    batcher = make_batcher(settings())
    payload = encode(Event(id="x", name="shop.paid", timestamp=datetime(2026, 1, 31, tzinfo=UTC), data={}, context={}))

    journal_range = batcher.open_range("journal", 0)
    journal_range.add([payload], [100])
    journal_range.close()

    assert served(settings()) == ["segment", NOT_TAKEN]
    assert batcher.destinations == ("segment", NOT_TAKEN)
    assert [(put.destination, put.count, dict(put.filtered)) for put in journal_range.puts] == [("segment", 1, {})]


def test_no_worker_serves_a_browser_destination() -> None:
    app = make_app(settings())

    assert list(build_destinations(settings())) == ["segment"]
    assert [queue.name for queue in app.conf.task_queues] == ["segment"]
    with pytest.raises(SettingsError, match="unknown destination 'tags'; the enabled ones are segment"):
        _check_queues("tags", settings())


def test_nothing_is_replayed_to_a_browser_destination() -> None:
    with pytest.raises(SettingsError, match="tags takes events from browsers only"):
        Replay(settings(), "tags", Filter())


def test_the_settings_of_a_browser_destination_are_checked() -> None:
    (problem,) = check_options(settings(tags={"type": "qualaroo", "events": ["*"], "site_key": "hush"}))

    assert problem.startswith("settings: destinations.tags.site_key = ")
    assert "unknown setting" in problem
    assert "hush" not in problem
