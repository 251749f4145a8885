"""tracker.js in a real Chromium: each event that a page emitted arrives, whatever ends the page or fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from selenium.common.exceptions import WebDriverException

from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.events_site import EventsSite
from tests.support.vendor import CUT, Reply
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")

#: How often each thing is done. The long form is for `make edge`.
N = 3
EMIT = "return [1, 2].map((n) => Tracker.emit('book.read', {n}));"


@pytest.fixture(scope="module")
def driven() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def site() -> Iterator[EventsSite]:
    with EventsSite() as site:
        yield site


@pytest.fixture
def page(driven: Browser, site: EventsSite) -> Browser:
    """The browser with a page of the site open. Each site has its own port, so its storage is empty."""
    driven.open(f"{site.url}/page")
    return driven


def all_arrive(site: EventsSite, page: Browser, ids: list[str]) -> None:
    """Each of the events arrives, perhaps in several copies with one id, and nothing stays in the browser."""
    assert len(set(ids)) == len(ids) > 0
    wait_for(lambda: set(site.taken) >= set(ids), 15)
    assert set(site.taken) == set(ids)
    wait_for(lambda: not kept(page), 5)


def kept(page: Browser) -> list[str]:
    """The names of what the client has stored."""
    return list(page.run("return Object.keys(localStorage).filter((name) => !name.includes('!'))"))


def test_events_arrive_when_a_click_leads_away(site: EventsSite, page: Browser) -> None:
    ids = []
    for _ in range(N):
        ids += page.run(f"const ids = (() => {{ {EMIT} }})(); document.getElementById('next').click(); return ids;")
    all_arrive(site, page, ids)


def test_events_arrive_when_the_page_is_reloaded(site: EventsSite, page: Browser) -> None:
    ids = []
    for _ in range(N):
        ids += page.run(EMIT.replace("return", "const ids =") + "location.reload(); return ids;")
    all_arrive(site, page, ids)


def test_events_arrive_when_the_tab_is_closed(site: EventsSite, page: Browser) -> None:
    ids = []
    for _ in range(N):
        first = page.new_tab()
        page.open(f"{site.url}/page")
        ids += page.run(EMIT)
        page.go_to_tab(first, close=True)
    wait_for(lambda: set(site.taken) >= set(ids), 15)
    page.open(f"{site.url}/page")
    all_arrive(site, page, ids)


def test_events_arrive_when_the_renderer_crashes(site: EventsSite, page: Browser) -> None:
    first = page.new_tab()
    page.open(f"{site.url}/page")
    ids = page.run(EMIT)
    with suppress(WebDriverException):
        page.devtools("Page.crash")
    with suppress(WebDriverException):
        page.go_to_tab(first, close=True)
    page.go_to_tab(first)
    page.open(f"{site.url}/page")
    all_arrive(site, page, ids)


def test_events_wait_until_the_browser_is_online(site: EventsSite, page: Browser) -> None:
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.devtools("Network.enable")
    page.devtools("Network.emulateNetworkConditions", offline=True, **network)
    ids = page.run(EMIT)
    assert len(kept(page)) == 2
    page.devtools("Network.emulateNetworkConditions", offline=False, **network)
    all_arrive(site, page, ids)


def test_two_tabs_lose_nothing_of_each_other(site: EventsSite, page: Browser) -> None:
    many = "return Array.from({length: 60}, (_, n) => Tracker.emit('book.read', {n}));"
    ids = page.run(many)
    first = page.new_tab()
    page.open(f"{site.url}/page")
    ids += page.run(many)
    page.go_to_tab(first, close=True)
    ids += page.run(many)
    all_arrive(site, page, ids)


def test_events_arrive_from_the_back_forward_cache(site: EventsSite, page: Browser) -> None:
    page.run("addEventListener('pageshow', (event) => { window.restored = event.persisted; });")
    ids = page.run(EMIT)
    page.open(f"{site.url}/page-next")
    page.run("history.back()")
    wait_for(lambda: page.run("return location.pathname") == "/page", 5)
    ids += page.run(EMIT)
    assert page.run("return window.restored"), "the client keeps pages out of the back/forward cache"
    all_arrive(site, page, ids)


def test_events_survive_answers_that_fail(site: EventsSite, page: Browser) -> None:
    site.faults = [None, Reply(status=503, headers={"Retry-After": "1"}), CUT]
    ids = []
    for _ in range(N):
        ids += page.run(EMIT)
        page.run("return Tracker.flush()")
    all_arrive(site, page, ids)


def test_an_answer_that_is_no_collectors_proves_nothing(site: EventsSite, page: Browser) -> None:
    site.script = [Reply(body=b"<h1>Please log in to this wireless network</h1>")]
    ids = page.run(EMIT)
    page.run("return Tracker.flush()")
    assert len(kept(page)) == 2
    all_arrive(site, page, ids)


def test_only_the_event_that_is_refused_is_dropped(site: EventsSite, page: Browser) -> None:
    site.script = [Reply(status=413), Reply(status=400)]
    ids = page.run(EMIT)
    page.run("return Tracker.flush()")
    all_arrive(site, page, ids[1:])
    page.run("return Tracker.emit('later'), Tracker.flush()")
    assert '"dropped":{"refused":1}' in site.calls[-1].text or '"dropped":{"refused":1}' in site.calls[-2].text


@pytest.mark.parametrize("wrong", ["full", "forbidden"])
def test_events_arrive_without_storage(site: EventsSite, page: Browser, wrong: str) -> None:
    if wrong == "full":
        page.run(
            "for (let size = 4 << 20; size; size >>= 1)"
            " try { localStorage['other' + size] = 'x'.repeat(size); } catch {}"
        )
    else:
        page.run("Object.defineProperty(Storage.prototype, 'setItem', {value() { throw new DOMException('no') }})")
    ids = page.run(EMIT)
    wait_for(lambda: set(site.taken) == set(ids))


def test_events_of_a_page_whose_policy_forbids_them_come_with_the_next(site: EventsSite, driven: Browser) -> None:
    driven.open(f"{site.url}/page?policy=connect-src+'none'")
    ids = driven.run(EMIT)
    driven.run("return Tracker.flush()")
    assert len(kept(driven)) == 2
    driven.open(f"{site.url}/page")
    all_arrive(site, driven, ids)


def test_calls_before_the_script_are_sent_under_their_ids(site: EventsSite, driven: Browser) -> None:
    driven.open(f"{site.url}/page?stub")
    ids = driven.run(EMIT)
    driven.run(
        "const s = document.createElement('script'); s.src = '/tracker.js'; s.dataset.key = 'web';"
        "document.head.append(s);"
    )
    all_arrive(site, driven, ids)
    # On a page where the script never comes, the stub sends them itself.
    driven.open(f"{site.url}/page?stub")
    more = driven.run(EMIT)
    driven.open("about:blank")
    wait_for(lambda: set(more) <= set(site.taken), 5)


def test_without_consent_nothing_is_stored_or_sent(site: EventsSite, driven: Browser) -> None:
    driven.open(f"{site.url}/page?attributes=data-consent=unknown")
    ids = driven.run(EMIT)
    driven.run("return Tracker.flush()")
    assert kept(driven) == []
    assert not site.taken
    driven.run("Tracker.consent({advertising: false})")
    all_arrive(site, driven, ids)
    assert site.events[-1]["context"]["consent"] == {"categoryPreferences": {"advertising": False}}
    driven.run("Tracker.consent(false); Tracker.emit('never'); return Tracker.flush()")
    driven.open(f"{site.url}/page?attributes=data-delay=0")
    driven.run("Tracker.optOut(); Tracker.emit('never'); return Tracker.flush()")
    assert set(site.taken) == set(ids)


def test_segment_calls_have_the_shapes_of_analytics(site: EventsSite, page: Browser) -> None:
    page.run(
        "Tracker.identify('7', {plan: 'free'}); Tracker.page('Docs', 'Home', {x: 1});"
        "Tracker.track('Book Read', {n: 1}, {messageId: 'own-id'}); return Tracker.flush();"
    )
    identify, view, track = site.events
    assert (identify["type"], identify["name"], identify["data"]) == ("identify", "7", {"plan": "free"})
    assert (view["type"], view["category"], view["name"], view["data"]["x"]) == ("page", "Docs", "Home", 1)
    assert (track["id"], track["name"], track["userId"]) == ("own-id", "Book Read", "7")
    assert len({event["anonymousId"] for event in site.events}) == 1


def test_nothing_that_is_emitted_throws(site: EventsSite, page: Browser) -> None:
    ids = page.run(
        "const round = {n: 1n}; round.self = round; const all = [round, () => 1, undefined, '\\ud800', 5, "
        "{toJSON() { throw 1 }}, 'x'.repeat(40000)]; window.fetchBefore = fetch;"
        "return all.map((data) => Tracker.emit('odd', data));"
    )
    all_arrive(site, page, ids[:-1])
    assert site.events[0]["data"] == {"n": "1"}


def test_what_one_browser_emits_is_of_one_anonymous_user(site: EventsSite, driven: Browser) -> None:
    driven.open(f"{site.url}/page?attributes=data-consent=unknown")
    driven.run("Tracker.emit('unknown'); return Tracker.flush()")
    assert driven.run("return Object.values(localStorage)") == []
    driven.run("Tracker.consent(true); return Tracker.flush()")
    driven.open(f"{site.url}/page")
    driven.run("Tracker.emit('next'); Tracker.track('Next'); return Tracker.flush()")
    wait_for(lambda: len(site.taken) == 3, 5)
    assert len({event["anonymousId"] for event in site.events}) == 1
    driven.run("Tracker.reset(); Tracker.emit('other'); return Tracker.flush()")
    assert site.events[-1]["anonymousId"] != site.events[0]["anonymousId"]
    # Who refuses leaves no id behind, and gets none.
    driven.run("Tracker.consent(false); Tracker.emit('never'); Tracker.track('Never')")
    assert driven.run("return Object.values(localStorage)") == []
