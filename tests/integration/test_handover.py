"""Hand-over on a whole site: events of a page and of the server reach the visitor's page alone, and count once."""

from __future__ import annotations

import json
import re
import secrets
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from dispatcher.cli.main import main
from dispatcher.collector.handover import MAX_WAIT_SECONDS
from dispatcher.secrecy.visitor import make_reference
from dispatcher.store.mailboxes import Mailboxes
from tests.support.collector import Collector
from tests.support.handover_site import DESTINATIONS, HandoverSite
from tests.support.waiting import wait_for

GTM, OPTIMIZELY = "google_tag_manager_web", "optimizely_web"


def run(site: HandoverSite, *arguments: str, code: int = 0, **environ: str) -> str:
    """What a command prints on this site."""
    done = CliRunner().invoke(main, arguments, env={**site.environ, "COLUMNS": "200", **environ})
    assert done.exit_code == code, done.output
    return " ".join(done.output.split()) if arguments[0] != "waiting" else done.output


def a_page() -> str:
    """The reference of a page that nobody has seen before."""
    return f"p_{secrets.token_hex(16)}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HandoverSite]:
    with HandoverSite(tmp_path_factory.mktemp("handover")) as site:
        yield site


@pytest.fixture
def site(running: HandoverSite) -> HandoverSite:
    running.begin()
    return running


def send(site: HandoverSite, *visitor: str, **event: Any) -> dict[str, Any]:
    """What the collector answers to an event of a page."""
    body = {"key": "web", "visitor": visitor, "events": [event]}
    status, _, answer = site.collector.ask("POST", "/v1/events", json.dumps(body), Origin=site.url)
    assert status == 200
    return dict(json.loads(answer))


def test_a_session_of_the_server_gets_its_event_and_nobody_else_does(site: HandoverSite) -> None:
    own = a_page()
    event_id = site.emit("shop.seen", {"order": 17}, session="s-1", user_id=5)
    site.wait_for_counts(GTM, accepted=1, posted=1)

    for reference in (own, site.reference(session="s-2", user_id=6), site.reference(user_id=5)):
        assert site.ask(reference) == (200, {"events": []})
    status, answer = site.ask(site.reference(session="s-1"))
    assert status == 200
    [event] = answer["events"]
    assert (event["id"], event["destination"], event["advertising"]) == (event_id, GTM, True)
    assert event["calls"][0]["call"] == "dataLayer.push"
    assert event["calls"][0]["arguments"][0]["order"] == 17

    ack = {"id": event_id, "destination": GTM, "status": "handed"}
    site.ask(own, acks=[ack])
    site.wait_for_counts(GTM, posted=1, delivered=0)
    for _ in range(2):
        assert site.ask(site.reference(session="s-1"), acks=[ack]) == (200, {"events": []})
    site.wait_for_counts(GTM, posted=0, delivered=1, accepted=1)


@pytest.mark.parametrize("field", ["id", "destination", "status"])
def test_an_acknowledgement_of_any_json_is_answered_and_counts_nothing(site: HandoverSite, field: str) -> None:
    good = {"id": "page-1", "destination": GTM, "status": "handed"}
    for value in ({"a": 1}, [], [[]], 7, 1.5, True, None, "", "x"):
        assert site.ask(a_page(), acks=[{**good, field: value}]) == (200, {"events": []}), value


def test_a_pages_event_comes_back_with_its_answer_and_counts_once(site: HandoverSite) -> None:
    own = a_page()
    answer = send(site, own, id="page-1", name="shop.paid", data={"cents": 5})
    assert sorted(one["destination"] for one in answer["handover"]) == [GTM, "optimizely_web"]
    assert {one["id"] for one in answer["handover"]} == {"page-1"}

    acks = [{"id": "page-1", "destination": one["destination"], "status": "handed"} for one in answer["handover"]]
    assert site.ask(own, acks=acks)[0] == 200
    for name in (GTM, "optimizely_web"):
        site.wait_for_counts(name, accepted=1, delivered=1, posted=0)
    assert site.ask(own) == (200, {"events": []})
    [event] = [event for event in site.collector.events() if event["id"] == "page-1"]
    assert own[2:] not in json.dumps(event)


def test_a_page_without_a_visitor_gets_nothing(site: HandoverSite) -> None:
    assert "handover" not in send(site, id="page-2", name="shop.seen")
    site.wait_for_counts(GTM, accepted=1, filtered=1)
    assert site.counts(GTM).filtered_by_reason["no_visitor"] >= 1


def test_visitors_with_the_same_browser_and_address_get_their_own(site: HandoverSite) -> None:
    own, other = a_page(), a_page()
    third = "p_" + "3" * 32
    for number, visitor in enumerate([[own], [other], [], [third], [own]]):
        send(site, *visitor, id=f"same-{number}", name="shop.seen", page="https://shop.example/")
    site.wait_for_counts(GTM, posted=4, filtered=1)
    for visitor, expected in ((own, ["same-0", "same-4"]), (other, ["same-1"]), (third, ["same-3"])):
        assert sorted(one["id"] for one in site.ask(visitor)[1]["events"]) == expected
        site.ask(visitor, acks=[{"id": one, "destination": GTM, "status": "handed"} for one in expected])
    site.wait_for_counts(GTM, posted=0, delivered=4)


def test_a_page_cannot_name_a_mailbox_itself(site: HandoverSite) -> None:
    own, other = a_page(), a_page()
    site.ask(own)
    send(site, other, id="page-3", name="shop.seen", context={"collector_mailbox": "a" * 32, "session": "s-1"})
    site.wait_for_counts(GTM, posted=1)
    assert [one["id"] for one in site.ask(other)[1]["events"]] == ["page-3"]
    assert site.ask(site.reference(session="s-1"))[1] == {"events": []}
    site.ask(other, acks=[{"id": "page-3", "destination": GTM, "status": "no_consent"}])
    site.wait_for_counts(GTM, posted=0, filtered=1)


def test_a_page_that_waits_is_answered_when_an_event_comes(site: HandoverSite) -> None:
    found: list[Any] = []
    waiting = Thread(target=lambda: found.append(site.ask(site.reference(session="s-9"), wait=MAX_WAIT_SECONDS)))
    waiting.start()
    time.sleep(0.2)
    event_id = site.emit("shop.seen", session="s-9")
    waiting.join()
    [(status, answer)] = found
    assert (status, [one["id"] for one in answer["events"]]) == (200, [event_id])
    site.ask(site.reference(session="s-9"), acks=[{"id": event_id, "destination": GTM, "status": "handed"}])
    site.wait_for_counts(GTM, delivered=1, posted=0)


def test_a_page_that_goes_leaves_its_place_and_its_events(site: HandoverSite, tmp_path: Path) -> None:
    reference = site.reference(user_id="u-1")
    more = {"DISPATCHER_STATE_DIRECTORY": str(tmp_path), "DISPATCHER_COLLECTOR__HANDOVER_WAITS": "1"}
    collector = Collector(site.processes, tmp_path, **more)
    try:
        with socket.create_connection(("127.0.0.1", collector.port), timeout=60) as page:
            page.sendall(site.request(a_page(), reference, wait=25))

            def waits() -> bool:
                if site.ask(a_page(), of=collector, wait=0.01)[0] == 429:
                    return True
                if select.select([page], [], [], 0)[0]:  # the other one was first, and had the place
                    page.recv(65_536)
                    page.sendall(site.request(a_page(), reference, wait=25))
                return False

            wait_for(waits)
            page.shutdown(socket.SHUT_WR)
            assert page.recv(65_536) == b""
        event_id = site.emit("shop.seen", user_id="u-1")
        site.wait_for_counts(GTM, posted=1)
        # Long enough for the collector to look for the first page too, if that still waited: it would then keep the
        # event from the user's other browsers for a minute.
        assert site.ask(a_page(), of=collector, wait=1)[0] == 200
        other = a_page()
        assert [one["id"] for one in site.ask(other, reference, of=collector)[1]["events"]] == [event_id]
        refused = collector.metrics().split('refused_total{reason="client_gone"} ')
        assert len(refused) == 1 or refused[1].startswith("0")
    finally:
        collector.child.stop()
    site.ask(other, reference, acks=[{"id": event_id, "destination": GTM, "status": "handed"}])
    site.wait_for_counts(GTM, delivered=1, posted=0)


@pytest.mark.parametrize(
    ("visitor", "code"),
    [
        ([], "unknown_visitor"),
        (["p_x"], "forged_visitor"),
        ([make_reference(b"another secret " * 3, session="s-1")], "forged_visitor"),
        ([a_page(), make_reference(b"another secret " * 3, session="s-1")], "forged_visitor"),
        ([make_reference(("0123456789abcdef" * 4).encode(), session="s-1", hours=-1)], "expired_visitor"),
    ],
    ids=range(5),
)
def test_references_that_are_not_good_are_refused_and_counted(
    site: HandoverSite, visitor: list[str], code: str
) -> None:
    before = site.collector.count(f'refused_total{{reason="{code}"}}')
    status, answer = site.ask(*visitor)
    assert (status, answer["code"]) == (403, code)
    assert site.collector.count(f'refused_total{{reason="{code}"}}') == before + 1


@pytest.mark.parametrize(
    "body",
    [
        {"acks": 5},
        {"acks": [5, {}, {"id": 5}, {"id": "x", "destination": "nobody", "status": "handed"}]},
        {"acks": [{"id": "x", "destination": GTM, "status": "delivered"}]},
        {"acks": [{"id": ["x"], "destination": [GTM], "status": {}}]},
        {"wait": "long"},
        {"wait": -5},
        {"wait": 1e300},
        {"wait": True and 0.1},
    ],
    ids=range(8),
)
def test_odd_bodies_harm_nobody(site: HandoverSite, body: dict[str, Any]) -> None:
    own = a_page()
    assert site.ask(own, **body) == (200, {"events": []})


def test_while_redis_is_away_pages_are_told_and_events_taken(site: HandoverSite) -> None:
    own = a_page()
    site.redis.stop()
    try:
        status, answer = site.ask(own)
        assert (status, answer["code"]) == (503, "store")
        assert send(site, own, id="page-9", name="shop.seen")["accepted"] == 1
    finally:
        site.redis.start()
    wait_for(lambda: site.ask(own)[0] == 200)
    site.wait_for_counts(GTM, posted=1)


def test_operators_see_where_an_event_waits_for_its_page(site: HandoverSite) -> None:
    event_id = site.emit("shop.seen", {"order": 18}, session="s-20")
    site.wait_for_counts(GTM, posted=1)

    line = run(site, "waiting", "list", GTM)
    assert re.search(rf"{event_id}  shop\.seen  waits for its visitor's page since [^,]+, dead in", line)
    site.ask(site.reference(session="s-20"), acks=[{"id": event_id, "destination": GTM, "status": "not_present"}])
    assert ", tried 1 time: not_present, dead in" in run(site, "waiting", "list", GTM)
    [row] = [json.loads(line) for line in run(site, "waiting", "list", GTM, "--json").splitlines() if event_id in line]
    assert (row["state"], row["attempts"], row["error"], row["put_ms"] < row["due_ms"]) == (
        *("posted", 1, "not_present"),
        True,
    )
    assert json.loads(run(site, "waiting", "show", GTM, event_id))["data"] == {"order": 18}
    assert f"{GTM}: " in run(site, "status")
    assert "for pages of their visitors, the oldest for " in run(site, "status")

    site.ask(site.reference(session="s-20"), acks=[{"id": event_id, "destination": GTM, "status": "handed"}])
    site.wait_for_counts(GTM, posted=0, delivered=1, retried=1)
    assert event_id not in run(site, "waiting", "list", GTM)


def test_a_paused_destination_gives_pages_nothing(site: HandoverSite) -> None:
    own, session = a_page(), site.reference(session="s-30")
    first = site.emit("shop.seen", session="s-30")
    site.wait_for_counts(GTM, posted=1)
    run(site, "pause", GTM)
    try:
        wait_for(lambda: site.ask(session)[1] == {"events": []})
        assert "handover" not in send(site, own, id="page-30", name="shop.seen")
        second = site.emit("shop.seen", session="s-30")
        site.wait_for_counts(GTM, accepted=3, posted=1)
        assert site.ask(session, wait=1.0) == (200, {"events": []})
        # What a page did before is counted all the same.
        site.ask(session, acks=[{"id": first, "destination": GTM, "status": "handed"}])
        site.wait_for_counts(GTM, posted=0, delivered=1)
    finally:
        run(site, "resume", GTM)
    wait_for(lambda: [one["id"] for one in site.ask(session)[1]["events"]] == [second])
    wait_for(lambda: [one["id"] for one in site.ask(own)[1]["events"]] == ["page-30"])
    for visitor, event_id in ((session, second), (own, "page-30")):
        site.ask(visitor, acks=[{"id": event_id, "destination": GTM, "status": "handed"}])
    site.wait_for_counts(GTM, posted=0, delivered=3)


def test_operators_handle_what_waits_for_pages_as_all_else(site: HandoverSite) -> None:
    def wait_of(reference: str) -> list[str]:
        return [one["id"] for one in site.ask(reference)[1]["events"] if one["destination"] == OPTIMIZELY]

    # Nothing else waits for that one.
    session = site.reference(session="s-40")
    event_id = site.emit("shop.paid", session="s-40")
    site.wait_for_counts(OPTIMIZELY, posted=1)
    # That one has no key on this site.
    assert "drained" in run(site, "drain", DISPATCHER_DESTINATIONS__SEGMENT__ENABLED="false")
    assert "what waits is due already" in run(site, "retry", OPTIMIZELY)

    without = json.dumps({name: table for name, table in DESTINATIONS.items() if name != OPTIMIZELY})
    assert "nobody: not in the settings" in run(site, "waiting", "list", DISPATCHER_DESTINATIONS=without)
    assert f"{OPTIMIZELY}: nobody delivers it" in run(site, "status", DISPATCHER_DESTINATIONS=without)
    moved = run(site, "waiting", "move", OPTIMIZELY, "qualaroo", "--yes", code=1, DISPATCHER_DESTINATIONS=without)
    assert "1 event would stay: they wait for pages of their visitors" in moved
    site.wait_for_counts(OPTIMIZELY, posted=1)

    def expire() -> None:
        in_two_days = Mailboxes(site.pool, clock=lambda: time.time() + 172_800)
        assert in_two_days.expire(OPTIMIZELY) == 1
        site.wait_for_counts(OPTIMIZELY, posted=0, dead=1)

    expire()
    assert "not_collected" in run(site, "dead", "list", OPTIMIZELY)
    run(site, "dead", "replay", OPTIMIZELY)
    site.wait_for_counts(OPTIMIZELY, posted=1, dead=0)
    assert wait_of(session) == [event_id]
    expire()
    # The page's word comes too late: it counts where the event is posted again.
    site.ask(session, acks=[{"id": event_id, "destination": OPTIMIZELY, "status": "handed"}])
    run(site, "dead", "replay", OPTIMIZELY)
    site.wait_for_counts(OPTIMIZELY, posted=0, dead=0, delivered=1)
    other = site.emit("shop.paid", session="s-40")
    site.wait_for_counts(OPTIMIZELY, posted=1)
    assert wait_of(session) == [other]
    expire()
    run(site, "dead", "drop", OPTIMIZELY, "--yes")
    assert wait_of(session) == []
