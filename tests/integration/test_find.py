"""An event is found wherever it is: in an outbox, waiting, dead, delivered, replayed or left out, and in the log."""

from __future__ import annotations

import json
from typing import Any

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.find.search import find_events
from dispatcher.outcomes import CONSENT, NOT_ON_ALLOWLIST, OVERSIZED
from tests.support.site import Site
from tests.support.waiting import PATIENCE, wait_for

NOBODY = "019e02c4-7a1b-7c3d-8e5f-0123456789ab"
REFUSED = "{'consent': {'categoryPreferences': {'Analytics': False}}}"


def emit(site: Site, name: str, data: dict[str, Any], **environ: str) -> str:
    """Emit one event in a process of its own. Returns its id."""
    code = (
        f"with tracker.context('who', {REFUSED if name == 'shop.refused' else {}}):\n"
        f"    report(tracker.emit({name!r}, {data!r}))\ndispatcher.flush(timeout=60)"
    )
    (event_id,) = site.emitting(code, **environ).report()
    return event_id


def find(site: Site, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    child = site.processes.dispatcher("find", *arguments, "--json")
    assert child.wait(PATIENCE) == code, child.output
    return [json.loads(line) for line in child.output.splitlines() if line.startswith("{")]


def text(site: Site, *arguments: str) -> str:
    child = site.processes.dispatcher("find", *arguments)
    child.wait(PATIENCE)
    return child.output


def places(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(place["destination"], place["state"]) for place in found["places"]]


def test_an_event_is_followed_from_its_outbox_to_its_line(site: Site) -> None:
    event_id = emit(site, "shop.order.paid", {"n": 1}, DISPATCHER_RELAY__MODE="external")
    (in_outbox,) = find(site, event_id)
    assert places(in_outbox) == [("", "outbox")]
    assert "its relay has not put it" in text(site, event_id)
    site.relay_once()
    (waiting,) = find(site, event_id)
    assert places(waiting) == [("tracking_log", "waiting"), ("segment", "waiting")]
    worker = site.worker()
    site.wait_until_delivered()
    (delivered,) = find(site, event_id)
    assert sorted(places(delivered)) == [
        ("segment", "delivered"),
        ("tracking_log", "delivered"),
        ("tracking_log", "logged"),
    ]
    line = next(place for place in delivered["places"] if place["state"] == "logged")
    content = site.log.read_bytes()
    assert (line["path"], line["number"], line["offset"]) == (str(site.log), 1, 0)
    assert json.loads(content.splitlines()[0]) == line["line"]
    receipt = next(place for place in delivered["places"] if place["destination"] == "segment")
    assert (receipt["attempt"], receipt["together"]) == (1, 1)
    assert worker.stop() == 0
    shown = text(site, event_id)
    assert f"{site.log}:1, at byte 0" in shown
    assert "segment: delivered; at 2" in shown


def test_a_dead_letter_that_was_replayed_shows_its_death_and_where_it_is_now(site: Site) -> None:
    site.worker()
    event_id = emit(site, "shop.order.paid", {"text": "x" * 40_000})
    wait_for(lambda: site.counts("segment").dead == 1, PATIENCE, what=site.ledger)
    (found,) = find(site, event_id)
    (receipt, letter) = (place for place in found["places"] if place["destination"] == "segment")
    assert (receipt["state"], receipt["reason"]) == (letter["state"], letter["reason"]) == ("dead", OVERSIZED)
    assert letter["letter"]
    site.processes.dispatcher("dead", "replay", "segment").succeed()
    wait_for(lambda: len(find(site, event_id)[0]["places"]) == 5, PATIENCE)
    assert "(replayed)" in text(site, event_id)
    site.processes.dispatcher("dead", "drop", "segment", "--yes").succeed()
    assert "its dead letter is gone: it was replayed or dropped since" in text(site, event_id)


def test_what_an_allowlist_and_a_rule_keep_back_is_said_with_the_entry(site: Site) -> None:
    site.allow(["shop.*", "!shop.secret"], more='consent = ["Analytics"]\n')
    site.worker()
    kept_back, excluded, unlisted = (emit(site, name, {}) for name in ("shop.refused", "shop.secret", "exam.taken"))
    site.wait_for_lines(3)
    site.wait_until_delivered()
    found = {one["id"]: one for one in find(site, kept_back, excluded, unlisted)}
    (receipt,) = (place for place in found[kept_back]["places"] if place["destination"] == "segment")
    assert (receipt["state"], receipt["reason"]) == ("filtered", CONSENT)
    (route,) = (route for route in found[excluded]["routes"] if route["destination"] == "segment")
    assert (route["goes"], route["entry"]) == (False, "!shop.secret")
    (route,) = (route for route in found[unlisted]["routes"] if route["destination"] == "segment")
    assert (route["goes"], route["reason"]) == (False, NOT_ON_ALLOWLIST)
    assert "not sent (excluded): an exception of its allowlist matches: !shop.secret" in text(site, excluded)


def test_events_are_found_by_their_user_name_and_time_without_redis_too(site: Site) -> None:
    site.worker()
    mine = emit(site, "shop.order.paid", {"user_id": 42})
    emit(site, "shop.order.paid", {"user_id": 7, "n": 42})
    emit(site, "exam.taken", {"user_id": 42})
    site.wait_for_lines(3)
    assert [one["id"] for one in find(site, "--user", "42", "--name", "shop.*")] == [mine]
    assert len(find(site, "--name", "*", "--limit", "2")) == 2
    assert find(site, "--user", "42", "--since", "2100-01-01", code=1) == []
    site.wait_until_delivered()
    site.processes.close()
    site.redis.stop()
    for asked in ((mine,), ("--user", "42", "--name", "shop.*")):
        (found,) = find(site, *asked)
        assert {("tracking_log", "logged"), ("segment", "delivered")} <= set(places(found))
        assert any(sentence.startswith("what waits in Redis") for sentence in found["partial"])
    assert find(site, NOBODY, code=4)[0]["places"] == []


def test_what_is_nowhere_and_what_was_not_looked_at_is_said(site: Site) -> None:
    assert find(site, NOBODY, code=1)[0]["places"] == []
    assert "it was found nowhere; nobody has written receipts here" in text(site, NOBODY)
    site.environ["DISPATCHER_RECEIPTS__MAX_BYTES"] = "0"
    site.worker()
    event_id = emit(site, "shop.order.paid", {})
    site.wait_until_delivered()
    (found,) = find(site, event_id)
    assert places(found) == [("tracking_log", "logged")]
    assert any("receipts.max_bytes is 0" in sentence for sentence in found["partial"])
    assert "segment: nothing is known" in text(site, event_id)


def test_receipts_of_workers_on_another_host_are_missed_by_name(site: Site) -> None:
    site.worker("--name", "celery@elsewhere")
    site.wait_until_delivered()
    pool = RedisPool(site.redis.url, timeout_seconds=30)

    def notes() -> list[str]:
        (found,) = find_events(site.settings(), pool, [NOBODY])
        return [note for note in found["partial"] if "elsewhere" in note]

    wait_for(notes, PATIENCE, what="the worker to be there")
    pool.close()


def test_wrong_usage_is_refused(site: Site) -> None:
    for arguments in ((), (NOBODY, "--user", "7"), (NOBODY, "--since", "2026-01-01"), ("x" * 200,)):
        assert site.processes.dispatcher("find", *arguments).wait(PATIENCE) == 2
