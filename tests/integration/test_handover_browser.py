"""handover.js in a real Chromium: each event is handed to each tool of its route once, whatever the visitor does."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.handover_site import HandoverSite
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")

#: How often a visitor comes. Long form: `HANDOVER_VISITS=50 make test ARGS=tests/integration/test_handover_browser.py`.
VISITS = int(os.environ.get("HANDOVER_VISITS", "6"))
GTM, OPTIMIZELY, QUALAROO = "google_tag_manager_web", "optimizely_web", "qualaroo"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HandoverSite]:
    with HandoverSite(tmp_path_factory.mktemp("handover")) as site:
        yield site


@pytest.fixture(scope="module")
def driven() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(driven: Browser, running: HandoverSite) -> Iterator[Browser]:
    """The browser, with nothing stored."""
    driven.open(f"{running.url}/empty?attributes=data-consent=denied")
    driven.run("localStorage.clear()")
    running.begin()
    yield driven
    driven.open("about:blank")


def emit(page: Browser, name: str, data: str = "{}") -> str:
    return str(page.run(f"return Tracker.emit('{name}', {data})"))


def given(site: HandoverSite, tool: str) -> list[str]:
    """The ids, or the names, that a global got."""
    found = [value for name, value in site.given if name == tool]
    return [value["eventId"] if tool == "dataLayer" else value["eventName"] for value in found]


def test_a_pages_event_is_handed_at_once_and_never_again(running: HandoverSite, page: Browser) -> None:
    page.open(f"{running.url}/page")
    event_id = emit(page, "shop.paid", "{cents: 5}")
    wait_for(lambda: given(running, "dataLayer") and given(running, "optimizely"))
    for address in ("/page", "/page-next"):
        page.open(f"{running.url}{address}")
    page.run("setTimeout(() => history.back())")
    for name in (GTM, OPTIMIZELY):
        running.wait_for_counts(name, accepted=1, delivered=1, posted=0)
    assert (given(running, "dataLayer"), given(running, "optimizely")) == ([event_id], ["shop.paid"])


def test_an_event_of_the_server_reaches_its_users_next_page_only(running: HandoverSite, page: Browser) -> None:
    event_id = running.emit("shop.seen", {"order": 3}, user_id=77)
    running.wait_for_counts(GTM, posted=1)
    page.open(f"{running.url}/page")
    page.open(f"{running.url}/page?visitor={running.reference(user_id=78)}")
    assert emit(page, "other.event")
    page.run("return Tracker.flush()")
    assert running.given == []

    page.open(f"{running.url}/page?visitor={running.reference(user_id=77)}")
    running.wait_for_counts(GTM, delivered=1, posted=0)
    page.open(f"{running.url}/page?visitor={running.reference(user_id=77)}")
    assert given(running, "dataLayer") == [event_id]


def test_a_page_that_polls_gets_events_while_it_is_open(running: HandoverSite, page: Browser) -> None:
    page.open(f"{running.url}/page?visitor={running.reference(session='s-5')}&attributes=data-handover=poll")
    for _ in range(2):
        running.begin()
        event_id = running.emit("shop.seen", session="s-5")
        running.wait_for_counts(GTM, delivered=1, posted=0)
        assert given(running, "dataLayer") == [event_id]


def test_a_category_that_was_not_agreed_to_is_not_served(running: HandoverSite, page: Browser) -> None:
    page.open(f"{running.url}/page")
    page.run("Tracker.consent({surveys: false, advertising: false})")
    running.emit("survey.seen", session="s-6")
    running.emit("shop.seen", session="s-6")
    running.wait_for_counts(QUALAROO, posted=1)
    running.wait_for_counts(GTM, posted=1)
    page.run(
        "document.head.append(Object.assign(document.createElement('meta'), "
        "{name: 'dispatcher-visitor', content: arguments[0]}));"
        "Tracker.consent(false); Tracker.consent({surveys: false, advertising: false})",
        running.reference(session="s-6"),
    )
    for name in (QUALAROO, GTM):
        running.wait_for_counts(name, posted=0, delivered=0, dead=0)
        assert running.counts(name).filtered_by_reason["consent"] == 1
    assert running.given == []


def test_a_script_that_comes_late_gets_the_event_and_one_that_never_comes_is_told(
    running: HandoverSite, page: Browser
) -> None:
    page.open(f"{running.url}/bare")
    event_id = emit(page, "shop.paid", "{cents: 5}")
    page.run("return Tracker.flush()")
    page.run(
        "setTimeout(() => { window.late = []; window.dataLayer = {push: (value) => late.push(value.eventId)}; }, 300);"
        # Ten seconds have passed for the page.
        "const now = Date.now; setTimeout(() => { Date.now = () => now() + 11000; }, 1200);"
    )
    running.wait_for_counts(GTM, delivered=1, posted=0)
    assert page.run("return window.late") == [event_id]
    running.wait_for_counts(OPTIMIZELY, posted=1)

    page.open(f"{running.url}/page")
    running.wait_for_counts(OPTIMIZELY, delivered=1, posted=0)
    assert given(running, "optimizely") == ["shop.paid"]
    assert given(running, "dataLayer") == []


def test_a_call_that_throws_harms_neither_the_page_nor_the_others(running: HandoverSite, page: Browser) -> None:
    page.open(f"{running.url}/page")
    page.run("window.optimizely = {push: () => { throw new Error('vendor'); }}")
    emit(page, "shop.paid", "{cents: 5}")
    running.wait_for_counts(GTM, delivered=1)
    running.wait_for_counts(OPTIMIZELY, posted=1)
    page.open(f"{running.url}/page")
    running.wait_for_counts(OPTIMIZELY, delivered=1, posted=0)


def test_two_bundles_of_a_page_hand_over_as_one_tracker(running: HandoverSite, page: Browser) -> None:
    page.open(f"{running.url}/page-of-modules")
    wait_for(lambda: page.run("return !!window.Two"))
    wanted = [page.run(f"return {bundle}.emit('shop.paid', {{cents: 5}})") for bundle in ("One", "Two")]
    running.wait_for_counts(GTM, delivered=2, posted=0)
    wait_for(lambda: sorted(given(running, "dataLayer")) == sorted(wanted))


def test_a_policy_with_the_collector_in_it_is_enough(running: HandoverSite, page: Browser) -> None:
    # The page's own origin is for what the stand-ins of vendors tell.
    policy = (
        "default-src 'none'; script-src 'nonce-n' BASE; connect-src 'self' BASE; require-trusted-types-for 'script'"
    )
    page.open(f"{running.url}/page?{urlencode({'policy': policy})}")
    event_id = emit(page, "shop.paid", "{cents: 5}")
    running.wait_for_counts(GTM, delivered=1, posted=0)
    wait_for(lambda: given(running, "dataLayer") == [event_id])


def test_many_events_in_tabs_that_come_and_go_are_each_handed_once(running: HandoverSite, page: Browser) -> None:
    rng = random.Random(5)
    wanted: Counter[str] = Counter()
    address = f"{running.url}/page?visitor={running.reference(user_id=88)}"
    page.open(address)
    for _ in range(VISITS):
        ids = page.run("return Array.from({length: 8}, (_, n) => Tracker.emit('shop.seen', {n}))")
        ids += [running.emit("shop.seen", user_id=88) for _ in range(2)]
        wanted.update(ids)
        move = rng.choice(["reload", "click", "back", "tab"])
        if move == "tab":
            first = page.new_tab()
            page.open(address)
            wanted.update([emit(page, "shop.seen")])
            page.go_to_tab(first, close=True)
        elif move == "back":
            page.open(f"{running.url}/page-next")
            page.run("setTimeout(() => history.back())")
        else:
            page.open(address)
    page.open(address)
    running.wait_for_counts(GTM, queued=0, claimed=0, parked=0)
    page.open(address)
    # What was sent twice, since a page went before it had the answer, counts once.
    running.wait_for_counts(GTM, delivered=len(wanted), posted=0, dead=0)
    # Each call is told by a request of its own, which may come after the collector's.
    wait_for(lambda: len(given(running, "dataLayer")) >= len(wanted))
    assert Counter(given(running, "dataLayer")) == wanted
