"""tracker.js in a real Chromium: each event that a page emitted arrives, whatever ends the page or fails on the way."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

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


@pytest.fixture
def page(driven: Browser, web: EventsSite) -> Browser:
    """The browser with a page of the site open. Each site has its own port, so its storage is empty."""
    driven.open(f"{web.url}/page")
    return driven


def all_arrive(web: EventsSite, page: Browser, ids: list[str]) -> None:
    """Each of the events arrives, perhaps in several copies with one id, and nothing stays in the browser."""
    assert len(set(ids)) == len(ids) > 0
    wait_for(lambda: set(web.taken) >= set(ids))
    assert set(web.taken) == set(ids)
    wait_for(lambda: not kept(page))


def kept(page: Browser) -> list[str]:
    """The names of what the client has stored."""
    return list(page.run("return Object.keys(localStorage).filter((name) => !name.includes('!'))"))


def test_events_arrive_when_a_click_leads_away(web: EventsSite, page: Browser) -> None:
    ids = []
    for _ in range(N):
        ids += page.run(f"const ids = (() => {{ {EMIT} }})(); document.getElementById('next').click(); return ids;")
    all_arrive(web, page, ids)


def test_events_arrive_when_the_page_is_reloaded(web: EventsSite, page: Browser) -> None:
    ids = []
    for _ in range(N):
        ids += page.run(EMIT.replace("return", "const ids =") + "location.reload(); return ids;")
    all_arrive(web, page, ids)


def test_events_arrive_when_the_tab_is_closed(web: EventsSite, page: Browser) -> None:
    ids = []
    for _ in range(N):
        first = page.new_tab()
        page.open(f"{web.url}/page")
        ids += page.run(EMIT)
        page.go_to_tab(first, close=True)
    wait_for(lambda: set(web.taken) >= set(ids))
    page.open(f"{web.url}/page")
    all_arrive(web, page, ids)


def test_events_arrive_when_the_renderer_crashes(web: EventsSite, page: Browser) -> None:
    first = page.new_tab()
    page.open(f"{web.url}/page")
    ids = page.run(EMIT)
    with suppress(WebDriverException):
        page.devtools("Page.crash")
    with suppress(WebDriverException):
        page.go_to_tab(first, close=True)
    page.go_to_tab(first)
    page.open(f"{web.url}/page")
    all_arrive(web, page, ids)


def test_events_wait_until_the_browser_is_online(web: EventsSite, page: Browser) -> None:
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.devtools("Network.enable")
    page.devtools("Network.emulateNetworkConditions", offline=True, **network)
    ids = page.run(EMIT)
    assert len(kept(page)) == 2
    page.devtools("Network.emulateNetworkConditions", offline=False, **network)
    all_arrive(web, page, ids)


def test_two_tabs_lose_nothing_of_each_other(web: EventsSite, page: Browser) -> None:
    many = "return Array.from({length: 60}, (_, n) => Tracker.emit('book.read', {n}));"
    ids = page.run(many)
    first = page.new_tab()
    page.open(f"{web.url}/page")
    ids += page.run(many)
    page.go_to_tab(first, close=True)
    ids += page.run(many)
    all_arrive(web, page, ids)


def test_events_arrive_from_the_back_forward_cache(web: EventsSite, page: Browser) -> None:
    page.run("addEventListener('pageshow', (event) => { window.restored = event.persisted; });")
    ids = page.run(EMIT)
    page.open(f"{web.url}/page-next")
    page.run("setTimeout(() => history.back())")
    why = "the client keeps pages out of the back/forward cache"
    wait_for(lambda: page.run("return location.pathname === '/page' && window.restored"), what=lambda: why)
    ids += page.run(EMIT)
    all_arrive(web, page, ids)


def test_events_survive_answers_that_fail(web: EventsSite, page: Browser) -> None:
    web.faults = [None, Reply(status=503, headers={"Retry-After": "1"}), CUT]
    ids = []
    for _ in range(N):
        ids += page.run(EMIT)
        page.run("return Tracker.flush()")
    all_arrive(web, page, ids)


def test_an_answer_that_is_no_collectors_proves_nothing(web: EventsSite, page: Browser) -> None:
    web.faults = [Reply(body=b"<h1>Please log in to this wireless network</h1>")]
    ids = page.run(EMIT)
    page.run("return Tracker.flush()")
    assert len(kept(page)) == 2
    web.faults = []
    all_arrive(web, page, ids)


def test_only_the_event_that_is_refused_is_dropped(web: EventsSite, page: Browser) -> None:
    web.faults = [None, Reply(status=413), Reply(status=400)]
    ids = page.run(EMIT)
    page.run("return Tracker.flush()")
    all_arrive(web, page, ids[1:])
    page.run("return Tracker.emit('later'), Tracker.flush()")
    assert '"dropped":{"refused":1}' in web.calls[-1].text or '"dropped":{"refused":1}' in web.calls[-2].text


@pytest.mark.parametrize("wrong", ["full", "forbidden"])
def test_events_arrive_without_storage(web: EventsSite, page: Browser, wrong: str) -> None:
    if wrong == "full":
        page.run(
            "for (let size = 4 << 20; size; size >>= 1)"
            " try { localStorage['other' + size] = 'x'.repeat(size); } catch {}"
        )
    else:
        page.run("Object.defineProperty(Storage.prototype, 'setItem', {value() { throw new DOMException('no') }})")
    ids = page.run(EMIT)
    wait_for(lambda: set(web.taken) == set(ids))


def test_events_of_a_page_whose_policy_forbids_them_come_with_the_next(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/page?policy=connect-src+'none'")
    ids = driven.run(EMIT)
    driven.run("return Tracker.flush()")
    assert len(kept(driven)) == 2
    driven.open(f"{web.url}/page")
    all_arrive(web, driven, ids)


def test_calls_before_the_script_are_sent_under_their_ids(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/page?stub")
    ids = driven.run(EMIT)
    driven.run(
        "const s = document.createElement('script'); s.src = '/tracker.js'; s.dataset.key = 'web';"
        "document.head.append(s);"
    )
    all_arrive(web, driven, ids)
    # On a page where the script never comes, the stub sends them itself.
    driven.open(f"{web.url}/page?stub")
    more = driven.run(EMIT)
    driven.open("about:blank")
    wait_for(lambda: set(more) <= set(web.taken))


def test_without_consent_nothing_is_stored_or_sent(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/page?attributes=data-consent=unknown")
    ids = driven.run(EMIT)
    driven.run("return Tracker.flush()")
    assert kept(driven) == []
    assert not web.taken
    driven.run("Tracker.consent({advertising: false})")
    all_arrive(web, driven, ids)
    assert web.events[-1]["context"]["consent"] == {"categoryPreferences": {"advertising": False}}
    driven.run("Tracker.consent(false); Tracker.emit('never'); return Tracker.flush()")
    driven.open(f"{web.url}/page?attributes=data-delay=0")
    driven.run("Tracker.optOut(); Tracker.emit('never'); return Tracker.flush()")
    assert set(web.taken) == set(ids)


def test_segment_calls_have_the_shapes_of_analytics(web: EventsSite, page: Browser) -> None:
    page.run(
        "Tracker.identify('7', {plan: 'free'}); Tracker.page('Docs', 'Home', {x: 1});"
        "Tracker.track('Book Read', {n: 1}, {messageId: 'own-id'}); return Tracker.flush();"
    )
    identify, view, track = web.events
    assert (identify["type"], identify["name"], identify["data"]) == ("identify", "7", {"plan": "free"})
    assert (view["type"], view["category"], view["name"], view["data"]["x"]) == ("page", "Docs", "Home", 1)
    assert (track["id"], track["name"], track["userId"]) == ("own-id", "Book Read", "7")
    assert len({event["anonymousId"] for event in web.events}) == 1


def test_nothing_that_is_emitted_throws(web: EventsSite, page: Browser) -> None:
    ids = page.run(
        "const round = {n: 1n}; round.self = round; const all = [round, () => 1, undefined, '\\ud800', 5, "
        "{toJSON() { throw 1 }}, 'x'.repeat(40000)]; window.fetchBefore = fetch;"
        "return all.map((data) => Tracker.emit('odd', data));"
    )
    all_arrive(web, page, ids[:-1])
    assert web.events[0]["data"] == {"n": "1"}


def test_what_one_browser_emits_is_of_one_anonymous_user(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/page?attributes=data-consent=unknown")
    driven.run("Tracker.emit('unknown'); return Tracker.flush()")
    assert driven.run("return Object.values(localStorage)") == []
    driven.run("Tracker.consent(true); return Tracker.flush()")
    driven.open(f"{web.url}/page")
    driven.run("Tracker.emit('next'); Tracker.track('Next'); return Tracker.flush()")
    wait_for(lambda: len(web.taken) == 3)
    assert len({event["anonymousId"] for event in web.events}) == 1
    driven.run("Tracker.reset(); Tracker.emit('other'); return Tracker.flush()")
    assert web.events[-1]["anonymousId"] != web.events[0]["anonymousId"]
    # Who refuses leaves no id behind, and gets none.
    driven.run("Tracker.consent(false); Tracker.emit('never'); Tracker.track('Never')")
    assert driven.run("return Object.values(localStorage)") == []


def test_privacy_control_refuses_advertising_and_all_where_asked(web: EventsSite, driven: Browser) -> None:
    ask = "Object.defineProperty(navigator, 'globalPrivacyControl', {value: true});"
    given = "Tracker.consent({Advertising: true, Analytics: true});"
    told = []
    for attributes, before in (("", ""), ("", given), ("data-gpc=Analytics,C4", given), ("data-gpc=ignore", given)):
        driven.open(f"{web.url}/page?attributes={attributes}")
        driven.run(f"{ask} {before} Tracker.emit('asked'); return Tracker.flush()")
        told.append(web.events[-1]["context"]["consent"]["categoryPreferences"])
    assert told == [
        {"Advertising": False},
        {"Advertising": False, "Analytics": True},
        {"Advertising": True, "Analytics": False, "C4": False},
        {"Advertising": True, "Analytics": True},
    ]
    driven.open(f"{web.url}/page?attributes=data-gpc=all")
    driven.run(f"{ask} Tracker.emit('never'); return Tracker.flush()")
    assert len(web.events) == len(told)
    assert kept(driven) == []


def test_the_console_says_what_the_collector_refused(web: EventsSite, page: Browser) -> None:
    rejected = [{"index": 0, "id": "x", "code": "name_not_listed", "message": "not in sources.web.names"}]
    # Not `script`, of which the page's icon would take the first.
    web.faults = [Reply(body=json.dumps({"accepted": 0, "rejected": rejected}).encode())]
    said = page.run(
        "const said = []; console.warn = (...words) => said.push(words); Tracker.emit('odd', {}, {id: 5});"
        "return Tracker.flush().then(() => said);"
    )
    assert [words[1] for words in said] == [rejected]
    assert kept(page) == []
    assert web.calls[-1].value["events"][0]["id"] == "5"


def test_what_is_called_before_init_is_of_whom_the_browser_knows(web: EventsSite, driven: Browser) -> None:
    def visit(script: str) -> list[dict[str, Any]]:
        before = len(web.events)
        driven.open(f"{web.url}/module")
        wait_for(lambda: driven.run("return !!window.Service"))
        driven.run(f"{script}; return Tracker.flush()")
        return web.events[before:]

    start = "Tracker.init({key: 'web'})"
    first = visit(f"{start}; Tracker.identify('7', {{plan: 'free'}})")
    early = visit(f"Tracker.emit('a'); Tracker.track('B'); Tracker.identify({{age: 9}}); {start}; Tracker.emit('c')")
    assert {event["anonymousId"] for event in [*first, *early]} == {first[0]["anonymousId"]}
    assert [event.get("name") for event in early] == ["a", "B", None, "c"]
    assert early[1]["userId"] == early[2]["userId"] == "7"
    assert early[2]["data"] == {"plan": "free", "age": 9}
    # Another user's traits are not this one's, and a log-out ends what was known, both before init too.
    (other,) = visit(f"Tracker.identify('8', {{}}); {start}")
    assert (other["userId"], other["data"]) == ("8", {})
    (nobody,) = visit(f"Tracker.reset(); Tracker.track('D'); {start}")
    assert nobody["anonymousId"] != first[0]["anonymousId"]
    assert "userId" not in nobody
    # A refusal counts from before init on; what init says comes later, and counts instead.
    assert visit(f"Tracker.emit('never'); Tracker.consent(false); {start}") == []
    assert driven.run("return Object.values(localStorage)") == []
    assert len(visit("Tracker.consent(false); Tracker.emit('once'); Tracker.init({key: 'web', consent: true})")) == 1


def test_listeners_that_the_stub_queued_hear_the_script(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/page?stub")
    driven.run(
        "window.heard = []; Tracker.on('a', (name, data) => heard.push(data)); Tracker.emit('a', 1);"
        "Tracker.on('a', null, (name, data) => heard.push([data]));"
        "const s = document.createElement('script'); s.src = '/tracker.js'; s.dataset.key = 'web';"
        "document.head.append(s);"
    )
    wait_for(lambda: driven.run("return heard") == [1])
    assert driven.run("Tracker.emit('a', 2); return heard") == [1, 2, [2]]


def test_who_logs_out_in_one_tab_does_so_in_all(web: EventsSite, page: Browser) -> None:
    track = "Tracker.track('Seen'); return Tracker.flush()"

    def await_user(user: str | None) -> None:
        wait_for(lambda: page.run("return Tracker.user().userId") == user)

    first = page.new_tab()
    page.open(f"{web.url}/page")
    page.run(track)
    second = page.tab
    for script, user in (("Tracker.identify('7')", "7"), ("Tracker.reset()", None)):
        page.go_to_tab(first)
        page.run(f"{script}; {track}")
        page.go_to_tab(second)
        await_user(user)
        page.run(track)
    page.go_to_tab(first, close=True)
    seen = [event for event in web.events if event["type"] == "track"]
    assert [event.get("userId") for event in seen] == [None, "7", "7", None, None]
    known, after = ([event["anonymousId"] for event in part] for part in (seen[:3], seen[3:]))
    assert len(set(known)) == len(set(after)) == 1
    assert known[0] != after[0]
