"""``dispatcher board`` with a real Redis, a worker, and a browser that looks on through an outage."""

from __future__ import annotations

import http.client
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.board.app import Board
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.monitoring.snapshot import Observer
from tests.support.board import LOGIN, PATIENCE, PERSONAL, Watched, accessible, open_board, press, sees
from tests.support.browser import Browser, missing
from tests.support.dead_letters import add_dead_letters, an_event
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.waiting import wait_for

ORDERS = ["/api/plan", "/api/do", "/api/dead/show", "/api/doctor"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with RedisServer() as redis, open_site(tmp_path_factory.mktemp("watched"), redis) as site:
        with open_board(site) as watched:
            site.worker()
            yield watched
        # The one that exists since the last outage.
        site.segment_stub.stop()


def all_routes(site: Site) -> dict[str, bool]:
    """Every path that the board answers, and whether it wants POST."""
    pool = RedisPool(site.redis.url, timeout_seconds=5)
    board = Board(Observer(site.settings(), pool), pool, allow_control=True)
    return {route.path: "POST" in (route.methods or ()) for route in board.routes()}


def test_nothing_is_shown_without_a_login_and_every_answer_is_guarded(watched: Watched) -> None:
    routes = all_routes(watched.site)
    assert {"/", "/board.js", "/api/stream", "/api/live", "/api/find", *ORDERS} <= set(routes)
    for path, is_posted in {**routes, "/x": False, "//": False, "/api/../": True}.items():
        for login in (None, "ops:wrong", "ops:", "nobody:a-password"):
            answer = watched.ask(path, {} if is_posted else None, login)
            assert (answer.status, answer.text) == (401, "a login is needed\n"), path
        answer = watched.ask(path)
        assert answer.status in (200, 400, 404, 405), path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")


def test_the_page_gets_the_ledger_as_it_changes(watched: Watched) -> None:
    before = watched.shown()["delivered"]
    watched.emit(5)
    one = wait_for(
        lambda: one if (one := watched.shown())["delivered"] == before + 5 else None, PATIENCE, what=watched.shown
    )
    assert one["accepted"] == one["delivered"] + one["waiting"] + one["dead"] + one["filtered"]
    assert (one["closes"], one["level"], len(one["workers"])) == (True, "good", 1)
    page = watched.ask("/api/ledger")
    assert page.json["closes"]
    assert abs(page.json["at_ms"] / 1000 - time.time()) < PATIENCE
    assert PERSONAL not in page.text


def test_an_order_comes_from_the_boards_own_page_or_not_at_all(watched: Watched) -> None:
    order = {"action": "pause", "destination": "segment"}
    host = f"127.0.0.1:{watched.port}"
    for headers in (
        {"X-Board-Token": ""},
        {"X-Board-Token": watched.token[:-1]},
        {"X-Board-Token": "ü"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[x"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        for path in ORDERS:
            assert watched.ask(path, order, **headers).status == 403, (path, headers)
    assert watched.shown()["pause"] is None
    assert watched.ask("/api/plan", order, Origin=f"http://{host}").status == 200


def test_what_is_no_order_is_refused_and_no_board_breaks(watched: Watched) -> None:
    token = {"X-Board-Token": watched.token}
    bodies: list[bytes] = [
        b"",
        b"{",
        b'{"action":"\xff"}',
        b"[]",
        b"null",
        b"\xff",
        b"[" * 9_000,
        b'{"action":"retry"}',
        b"x" * 20_000,
    ]
    orders: list[dict[str, Any]] = [
        {"action": "explode", "destination": "segment"},
        {"action": "drop", "destination": "segment"},
        {"action": "drop", "destination": "segment", "count": -1},
        {"action": "replay", "destination": "segment", "count": 2**70},
        {"action": "pause", "destination": "segment", "seconds": 1e300},
        {"action": "pause", "destination": "segment", "seconds": 0},
        {"action": "pause", "destination": "emit"},
        {"action": "pause", "destination": "nowhere"},
        {"action": "pause", "destination": "segment:0} FLUSHALL"},
        {"action": "resume", "destination": "segment"},
        {"destination": "segment", "id": "no id at all\x00"},
        {"destination": "segment", "id": "1-1@99999999999"},
    ]
    for path in ORDERS:
        for body in bodies:
            assert 400 <= watched.ask(path, body, **token).status < 500, (path, body[:50])
        for order in orders:
            assert watched.ask(path, order).status < 500, (path, order)
    for query in ("", "?destination=nowhere", "?destination=segment&reason=%00%0a", "?destination=emit"):
        assert watched.ask(f"/api/dead{query}").status < 500
    one = watched.shown()
    assert (one["pause"], one["closes"]) == (None, True)


def test_dead_letters_are_listed_shown_when_asked_replayed_and_dropped(watched: Watched) -> None:
    # Of before a test that puts its own batches into the same journal.
    add_dead_letters(watched.site.store, *(an_event(n, text=PERSONAL) for n in range(3)))
    add_dead_letters(watched.site.store, an_event(9), reason="invalid", start=8)
    listed = watched.ask("/api/dead?destination=segment&reason=oversized")
    letters = listed.json["letters"]
    assert [letter["name"] for letter in letters] == ["shop.order.paid"] * 3
    assert PERSONAL not in listed.text
    assert PERSONAL not in watched.ask("/api/ledger").text
    letter = watched.ask("/api/dead/show", {"destination": "segment", "id": letters[0]["id"]}).json
    assert letter["event"]["data"]["text"] == PERSONAL
    assert f"ops looked at dead letter {letters[0]['id']} of segment" in watched.board.output
    assert PERSONAL not in watched.board.output

    drop = {"action": "drop", "destination": "segment", "reason": "oversized"}
    plan = watched.ask("/api/plan", drop).json
    assert (plan["count"], plan["can_be_done"]) == (3, True)
    assert "3 dead letters of segment with the reason oversized" in plan["words"]
    assert len(watched.ask("/api/dead?destination=segment").json["letters"]) == 4
    # As many as were asked about, though more may have died meanwhile.
    assert watched.ask("/api/do", {**drop, "count": 2}).json["words"] == "2 dead letters of segment dropped."
    before = watched.shown()["delivered"]
    replay = {"action": "replay", "destination": "segment", "count": 9}
    assert watched.ask("/api/do", replay).json["words"] == "2 dead letters of segment on the way."
    one = wait_for(
        lambda: one if (one := watched.shown())["delivered"] == before + 2 else None, PATIENCE, what=watched.shown
    )
    assert (one["dead"], one["closes"]) == (0, True)
    assert one["commands"][0]["command"] == "dead replay: 2 dead letters"
    assert one["commands"][0]["who"].startswith("ops on the board@")
    assert watched.ask("/api/do", replay).status == 409


def test_the_doctors_findings_are_a_part_of_the_board_on_asking(watched: Watched) -> None:
    found = watched.ask("/api/doctor", {}).json
    assert found["counts"]["ok"] > 5
    levels = [finding["level"] for finding in found["findings"]]
    assert set(levels) <= {"warning", "error"}
    assert levels == sorted(levels, reverse=True)
    assert all(finding["check"] and finding["what"] for finding in found["findings"])
    assert watched.ask("/api/doctor", {"only": "redis"}).status == 400


def test_batches_that_wait_are_listed_with_their_tasks_and_without_data(watched: Watched) -> None:
    with watched.outage():
        watched.emit(3)
        wait_for(lambda: watched.shown()["parked"] == 3, PATIENCE, what=watched.shown)
        listed = watched.ask("/api/waiting?destination=segment")
    assert sum(batch["count"] for batch in listed.json["batches"]) == 3
    assert {batch["state"] for batch in listed.json["batches"]} <= {"parked", "claimed", "queued"}
    assert all(batch["task_id"] == f"segment.{batch['id']}" for batch in listed.json["batches"])
    assert PERSONAL not in listed.text
    watched.site.wait_until_delivered(PATIENCE)


def test_a_board_that_only_shows_does_nothing(watched: Watched) -> None:
    board = watched.site.processes.dispatcher("board", "--port", "0")
    board.wait_for_output("http://127.0.0.1:")
    found = re.search(r":(\d+)\s", board.output)
    assert found is not None
    shows = Watched(watched.site, board, int(found[1]))
    wait_for(lambda: shows.ask("/healthz").status == 200, PATIENCE, what=lambda: board.output)
    session = shows.ask("/api/session").json
    shows.token = session["token"]
    assert session["allow_control"] is False
    assert watched.token != shows.token
    for path in ("/api/plan", "/api/do"):
        assert shows.ask(path, {"action": "pause", "destination": "segment"}).status == 403
    assert watched.shown()["pause"] is None
    # While somebody looks on.
    stream = http.client.HTTPConnection("127.0.0.1", shows.port, timeout=PATIENCE)
    stream.request("GET", "/api/stream", headers={"Authorization": "Basic " + b64encode(LOGIN.encode()).decode()})
    assert b'"destinations"' in stream.getresponse().readline()
    assert board.stop() == 0, board.output
    stream.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if missing():
        pytest.skip(f"{' and '.join(missing())} is not on this machine: apt-get install chromium chromium-driver")
    with Browser() as browser:
        yield browser


def test_somebody_watches_an_outage_and_presses_buttons(watched: Watched, browser: Browser) -> None:
    browser.open(f"http://{LOGIN}@127.0.0.1:{watched.port}/")
    sees(browser, "The sum closes")
    with watched.outage():
        watched.emit(4)
        sees(browser, "cannot be reached")
        sees(browser, "Breaker open for")
        press(browser, "segment")
        press(browser, "Pause … segment")
        sees(browser, "Workers deliver nothing more to segment")
        assert watched.site.counts("segment").pause is None
        accessible(browser)
        press(browser, "Pause")
        wait_for(lambda: watched.site.counts("segment").pause is not None, PATIENCE, what=lambda: browser.text)
        press(browser, "Close")
        sees(browser, "Paused for")
        for scheme in ("dark", "light"):
            browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            accessible(browser)
        browser.devtools("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=False)
        assert browser.run("return document.documentElement.scrollWidth") == 360
        accessible(browser)
    press(browser, "Resume … segment")
    press(browser, "Resume")
    wait_for(lambda: watched.site.counts("segment").pause is None, PATIENCE, what=lambda: browser.text)
    press(browser, "Close")
    press(browser, "Retry now … segment")
    sees(browser, "tried at once")
    watched.site.wait_until_delivered(PATIENCE)
    sees(browser, "all delivered")
    assert PERSONAL not in browser.source
