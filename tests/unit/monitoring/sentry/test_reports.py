"""What is reported, and what of it may leave."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from dispatcher import config
from dispatcher.errors import SettingsError
from dispatcher.monitoring import sentry
from dispatcher.monitoring.sentry.ledger_watch import find_news, remember
from dispatcher.monitoring.sentry.limiter import Limiter
from dispatcher.monitoring.sentry.report import MARK, Kind, word
from dispatcher.monitoring.sentry.scrubbing import Scrubber
from dispatcher.monitoring.sentry.start import start_sentry
from dispatcher.store.counts import Breaker, Counts
from tests.support.clock import Clock

SECRET = "ann@example.org"


def said(counts: Counts, before: Counts | None = None) -> list[tuple[list[str], dict[str, Any]]]:
    kept = {} if before is None else remember(before)
    found = find_news("segment", counts, kept, interval_seconds=60)
    return [(report.fingerprint, dict(report.facts)) for report in found]


def test_dead_letters_are_one_issue_for_each_reason_with_how_many_are_new() -> None:
    before = Counts(dead_by_reason={"invalid": 40})
    counts = Counts(dead_by_reason={"invalid": 42, "oversized": 1})

    assert said(counts, before) == [
        (
            ["dispatcher", "dead-letters", "segment", "invalid"],
            {"events": 2, "dead_letters": 42, "interval_seconds": 60},
        ),
        (
            ["dispatcher", "dead-letters", "segment", "oversized"],
            {"events": 1, "dead_letters": 1, "interval_seconds": 60},
        ),
    ]


def test_reported_dead_letters_are_not_reported_again() -> None:
    counts = Counts(dead_by_reason={"invalid": 42}, breaker=Breaker(state="open", cause="setup"))

    assert said(counts, counts) == []


def test_dead_letters_that_die_again_after_a_replay_are_reported_again() -> None:
    replayed = Counts(dead_by_reason={"invalid": 0})

    assert said(replayed, Counts(dead_by_reason={"invalid": 5})) == []
    assert [facts["events"] for _, facts in said(Counts(dead_by_reason={"invalid": 5}), replayed)] == [5]


def test_an_open_breaker_is_reported_once_with_its_cause_and_not_at_each_probe() -> None:
    opened = Counts(breaker=Breaker(state="open", cause="setup", error=f"401 for {SECRET}", failures=1, opened=1))
    probing = Counts(breaker=Breaker(state="half-open", cause="setup", failures=2, opened=1))

    assert said(opened) == [
        (["dispatcher", "breaker-opened", "segment", "setup"], {"failures": 1, "opened": 1, "waiting": 0})
    ]
    assert said(probing, opened) == []
    assert said(Counts(breaker=Breaker(opened=1, cause="setup")), probing) == []
    assert said(opened, Counts(breaker=Breaker(opened=1, cause="setup"))) != []


def test_ordinary_retries_are_not_reported() -> None:
    counts = Counts(parked=500, retried=9000, last_error="502", breaker=Breaker(failures=4, cause="transient"))

    assert said(counts) == []


@pytest.mark.parametrize("text", [f"refused {SECRET}", SECRET, "", "x" * 65, "{}"])
def test_a_reason_that_is_not_one_word_is_not_sent(text: str) -> None:
    assert word(text) == "other"
    assert SECRET not in str(said(Counts(dead_by_reason={text: 1})))


def test_one_report_of_a_kind_passes_in_an_interval_and_says_how_many_were_held_back() -> None:
    clock = Clock(0.0)
    limiter = Limiter(60, clock=clock)

    assert [limiter.admit("a"), limiter.admit("a"), limiter.admit("b"), limiter.admit("a")] == [1, 0, 1, 0]
    clock.now = 60
    assert [limiter.admit("a"), limiter.admit("a")] == [3, 0]


def everything_secret() -> dict[str, Any]:
    """An event of the SDK with something to hide in every part that it may have."""
    frame = {
        "filename": f"/home/{SECRET}/app.py",
        "abs_path": f"/home/{SECRET}/app.py",
        "function": "deliver",
        "module": "app",
        "lineno": 7,
        "vars": {"payload": SECRET},
        "context_line": f'key = "{SECRET}"',
        "pre_context": [SECRET],
    }
    return {
        "event_id": "1",
        "level": "error",
        "message": SECRET,
        "logentry": {"message": SECRET, "params": [SECRET]},
        "logger": SECRET,
        "fingerprint": [SECRET],
        "tags": {"user": SECRET},
        "extra": {"sys.argv": [SECRET], "payload": SECRET},
        "user": {"email": SECRET},
        "request": {"url": SECRET, "data": SECRET},
        "breadcrumbs": {"values": [{"message": SECRET}]},
        "modules": {SECRET: "1"},
        "server_name": SECRET,
        "contexts": {"trace": {"data": {"payload": SECRET}}, "dispatcher": {"events": SECRET}, "other": SECRET},
        "exception": {
            "values": [
                {
                    "type": "RuntimeError",
                    "module": None,
                    "value": SECRET,
                    "mechanism": {"type": "excepthook", "data": SECRET, "meta": SECRET},
                    "stacktrace": {"frames": [frame]},
                }
            ]
        },
        "threads": {"values": [{"stacktrace": {"frames": [frame]}, "name": SECRET}]},
        "spans": [{"description": SECRET}],
        "_meta": {"": SECRET},
    }


def test_only_listed_parts_of_an_event_are_sent() -> None:
    clean = Scrubber(role="worker", server_name=None).event(everything_secret(), {})

    assert SECRET not in json.dumps(clean)
    assert clean["exception"]["values"][0]["stacktrace"]["frames"] == [
        {"filename": "app.py", "function": "deliver", "module": "app", "lineno": 7}
    ]
    assert clean["tags"] == {"dispatcher.role": "worker"}


def test_title_tags_and_counts_of_an_own_event_are_sent_too() -> None:
    event = {
        **everything_secret(),
        "logentry": {"message": "Dead letters"},
        "tags": {"dispatcher.reason": "invalid"},
        "contexts": {"dispatcher": {"events": 2}, "other": SECRET},
        "fingerprint": ["dispatcher"],
        "logger": "dispatcher",
    }

    clean = Scrubber(role="worker", server_name="log-1").event(event, {MARK: "Dead letters"})

    assert SECRET not in json.dumps(clean)
    assert clean["tags"] == {"dispatcher.role": "worker", "dispatcher.reason": "invalid"}
    assert clean["contexts"] == {"dispatcher": {"events": 2}}
    assert clean["server_name"] == "log-1"


def test_only_transactions_of_deliveries_are_sent_and_none_of_their_spans() -> None:
    scrubber = Scrubber(role="worker", server_name=None)
    event = {**everything_secret(), "type": "transaction", "transaction": "tasks.segment.deliver"}

    assert SECRET not in json.dumps(scrubber.transaction(event, {}))
    assert scrubber.transaction({**event, "transaction": SECRET}, {}) is None


@pytest.mark.parametrize(
    "dsn", ["secret-key", "https://secret-key", "https://o1.ingest.example/7", "ftp://secret-key@host/1"]
)
def test_a_wrong_dsn_stops_the_start_and_is_not_shown(dsn: str) -> None:
    with pytest.raises(SettingsError) as caught:
        config.load({"DISPATCHER_SENTRY__DSN": dsn})

    assert 'DISPATCHER_SENTRY__DSN: sentry.dsn = "***": it must look like https://key@host/1' in str(caught.value)
    assert "secret-key" not in str(caught.value)


def test_a_dsn_is_masked_like_every_credential() -> None:
    settings = config.load({"DISPATCHER_SENTRY__DSN": "https://secret-key@host/1"})

    assert "secret-key" not in repr(settings)
    assert config.mask("", settings.model_dump())["sentry"]["dsn"] == "***"


def test_the_how_to_has_a_row_for_each_kind_of_report() -> None:
    guide = (Path(__file__).resolve().parents[4] / "docs" / "how-to" / "sentry.md").read_text()

    assert set(get_args(Kind)) == set(re.findall(r"^\| `([a-z-]+)` \|", guide, re.MULTILINE))


def test_a_dsn_without_the_sdk_stops_the_start_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a process that has not imported it yet.
    monkeypatch.delattr(sentry, "client", raising=False)
    monkeypatch.delitem(sys.modules, "dispatcher.monitoring.sentry.client", raising=False)
    monkeypatch.setitem(sys.modules, "sentry_sdk", None)

    assert start_sentry(config.load({}), role="worker") is False
    with pytest.raises(SettingsError, match="pip install 'sentry-sdk"):
        start_sentry(config.load({"DISPATCHER_SENTRY__DSN": "https://key@host/1"}), role="worker")
