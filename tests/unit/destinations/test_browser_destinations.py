"""Destinations that only browsers reach: configured like all others, with a queue, a ledger and mailboxes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from dispatcher.config import Settings
from dispatcher.config.collector import CollectorSettings
from dispatcher.config.collector_secret import make_secret, missing_secret, read_secret
from dispatcher.destinations.base import Batch
from dispatcher.destinations.build import build_destinations
from dispatcher.destinations.options import check_options
from dispatcher.errors import SettingsError
from dispatcher.event import Event, encode
from dispatcher.monitoring.ledger import served
from dispatcher.outcomes import Dead, Filtered, Posted, RetryAfter
from dispatcher.relay.batching import make_batcher
from dispatcher.replay import Filter, Replay
from dispatcher.routing import Router
from dispatcher.secrecy.visitor import CONTEXT_KEY, mailbox_of
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.tasks.celery import make_app


def settings(**more: dict[str, Any]) -> Settings:
    destinations = {"segment": {"events": ["shop.*"]}, "tags": {"type": "google_tag_manager_web", "events": ["shop.*"]}}
    return Settings.model_validate({"destinations": {**destinations, **more}})


def test_a_listed_event_goes_to_the_browser() -> None:
    explanation = Router(settings()).explain("shop.paid")[1]

    assert Router(settings()).route("shop.paid").destinations == ("segment", "tags")
    assert (explanation.goes, explanation.entry) == (True, "shop.*")


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


def test_a_browser_destination_has_a_ledger_batches_and_a_queue() -> None:
    batcher = make_batcher(settings())
    payload = encode(Event(id="x", name="shop.paid", timestamp=datetime(2026, 1, 31, tzinfo=UTC), data={}, context={}))

    journal_range = batcher.open_range("journal", 0)
    journal_range.add([payload], [100])
    journal_range.close()

    assert served(settings()) == ["segment", "tags", NOT_TAKEN]
    assert [(put.destination, put.count) for put in journal_range.puts] == [("segment", 1), ("tags", 1)]
    assert [queue.name for queue in make_app(settings()).conf.task_queues] == ["segment", "tags"]


def batch(*contexts: dict[str, Any], name: str = "shop.paid", data: Any = None) -> Batch:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    events = [
        Event(id=f"e{place}", name=name, timestamp=at, data=data or {}, context=context)
        for place, context in enumerate(contexts)
    ]
    return Batch(destination="tags", id="b", payloads=tuple(encode(event) for event in events))


def test_each_event_is_posted_for_its_visitor(tmp_path: Path) -> None:
    given = settings().model_copy(update={"collector": CollectorSettings(secret=SecretStr("s" * 32))})
    tags = build_destinations(given)["tags"]()
    outcomes = tags.deliver(batch({"session": "s-1"}, {}, {CONTEXT_KEY: "f" * 32, "session": "s-1"}))

    assert [type(outcome) for outcome in outcomes] == [Posted, Filtered, Posted]
    assert outcomes[0] == Posted(mailbox_of(b"s" * 32, "session", "s-1"), "e0", outcomes[0].calls)  # type: ignore[union-attr]
    assert outcomes[1] == Filtered("no_visitor")
    assert outcomes[2].mailbox == "f" * 32  # type: ignore[union-attr]
    assert b"s-1" not in outcomes[2].calls  # type: ignore[union-attr]
    assert tags.joins_batches


def test_what_no_vendors_script_takes_is_dead_or_filtered_before_it_is_posted() -> None:
    listed = {"type": "google_tag_manager_web", "events": ["shop.*"], "fields": ["*"]}
    given = settings(tags=listed, egg={"type": "crazy_egg", "events": ["*"]})
    built = build_destinations(given.model_copy(update={"collector": CollectorSettings(secret=SecretStr("s" * 32))}))

    [dead] = built["tags"]().deliver(batch({"session": "s-1"}, data={"event": "x"}))
    assert isinstance(dead, Dead)
    assert dead.reason == "reserved"
    assert built["egg"]().deliver(batch({"session": "s-1"})) == [Filtered("no_event_call")]
    [broken] = built["tags"]().deliver(Batch(destination="tags", id="b", payloads=(b"{",)))
    assert isinstance(broken, Dead)


def test_without_a_secret_events_wait_and_settings_say_what_to_do(tmp_path: Path) -> None:
    given = settings().model_copy(update={"state_directory": tmp_path})
    [outcome] = build_destinations(given)["tags"]().deliver(batch({"session": "s-1"}))

    assert isinstance(outcome, RetryAfter)
    assert outcome.retry_class == "setup"
    assert "DISPATCHER_COLLECTOR__SECRET" in (missing_secret(given) or "")
    make_secret(given)
    secret = read_secret(given)
    make_secret(given)
    assert (missing_secret(given), read_secret(given)) == (None, secret)
    assert (tmp_path / "collector-secret").stat().st_mode & 0o777 == 0o600
    assert missing_secret(settings(tags={"type": "qualaroo", "enabled": False})) is None


@pytest.mark.parametrize("table", [{"slots": 2}, {"rate": {"per_second": 5}}])
def test_what_means_nothing_for_pages_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="take this away"):
        settings(tags={"type": "qualaroo", "events": ["*"], **table})


def test_nothing_is_replayed_to_a_browser_destination() -> None:
    with pytest.raises(SettingsError, match="tags takes events from browsers only"):
        Replay(settings(), "tags", Filter())


def test_the_settings_of_a_browser_destination_are_checked() -> None:
    (problem,) = check_options(settings(tags={"type": "qualaroo", "events": ["*"], "site_key": "hush"}))

    assert problem.startswith("settings: destinations.tags.site_key = ")
    assert "unknown setting" in problem
    assert "hush" not in problem
