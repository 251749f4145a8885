"""Events of mixed routes on pages with the vendors' own snippets, in a Chromium that is reloaded, closed and killed."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Final

import pytest

from tests.support import browser as chromium
from tests.support import vendor_snippets
from tests.support.browser import Browser
from tests.support.handover_site import HandoverSite
from tests.support.vendor_snippets import READ_CALLS, TOOLS, script_elements
from tests.support.waiting import PATIENCE, wait_for

MISSING = chromium.missing() + vendor_snippets.missing()
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")

#: How often the visitor comes, with ten events each time. Long form, in which the browser is closed and killed too:
#: `HANDOVER_VISITS=50 make test ARGS="tests/integration/test_handover_vendors.py -s"`.
IS_LONG = "HANDOVER_VISITS" in os.environ
VISITS = int(os.environ.get("HANDOVER_VISITS", "6"))
CRAZY_EGG: Final = "crazy_egg"
#: The tool of each destination's calls. Crazy Egg takes none.
TOOL_OF: Final = {
    "google_tag_manager_web": "dataLayer",
    "optimizely_web": "optimizely",
    "qualaroo": "_kiq",
    "google_analytics_web": "gtag",
    "meta_pixel": "fbq",
    "segment_web": "analytics",
}
EVERYWHERE: Final = (*TOOL_OF, CRAZY_EGG)
ROUTES: Final[dict[str, tuple[str, ...]]] = {
    "mix.nowhere": (),
    "mix.tag": ("google_tag_manager_web",),
    "mix.survey": ("qualaroo",),
    "mix.recorded": (CRAZY_EGG,),
    "mix.paid": ("google_tag_manager_web", "optimizely_web", "meta_pixel"),
    "mix.seen": ("google_analytics_web", "meta_pixel", "segment_web"),
    "mix.everywhere": EVERYWHERE,
}
WHO: Final = {"session": "s-7", "user_id": 7}


class VendorsSite(HandoverSite):
    """Its pages have all tools: ``/page`` with the snippets' queues, ``/loaded`` as the vendors' scripts leave them."""

    destinations: ClassVar = {
        name: {"fields": ["n"], "events": [event for event, route in ROUTES.items() if name in route]}
        for name in EVERYWHERE
    }

    def globals(self, path: str) -> str:
        return script_elements(as_loaded=path == "/loaded")


class Visitor:
    """Whoever has the browser, with what the tools should get of the events."""

    def __init__(self, site: VendorsSite, page: Browser) -> None:
        self.site = site
        self.page = page
        self.address = f"{site.url}/page?visitor={site.reference(**WHO)}"
        #: By number, as every event's data has it, its name and id.
        self.emitted: dict[int, tuple[str, str]] = {}
        #: The calls that were read from the browser, each by its key: tool, number, id where the call has one.
        self.calls: dict[str, tuple[str, int, str | None]] = {}
        self._rng = random.Random(5)

    def emit(self, count: int = 6) -> None:
        """Emit in the page."""
        events = self._events(count)
        script = "return arguments[0].map(([name, n]) => Tracker.emit(name, {n}))"
        for (name, n), event_id in zip(events, self.page.run(script, events), strict=True):
            self.emitted[n] = (name, event_id)

    def emit_on_server(self) -> None:
        """Emit for the session and for the user, none of which a page has to ask for at once."""
        for key, value in WHO.items():
            for name, n in self._events(2):
                self.emitted[n] = (name, self.site.emit(name, {"n": n}, **{key: value}))

    def _events(self, count: int) -> list[tuple[str, int]]:
        first = len(self.emitted)
        return [(self._rng.choice(list(ROUTES)), n) for n in range(first, first + count)]

    def wanted(self, destination: str) -> Counter[int]:
        """The numbers of the events that go to a destination."""
        return Counter(n for n, (name, _) in self.emitted.items() if destination in ROUTES[name])

    def given(self, tool: str) -> Counter[int]:
        """The numbers that a tool got."""
        self.calls.update({key: tuple(call) for key, call in self.page.run(READ_CALLS)})
        return Counter(n for name, n, _ in self.calls.values() if name == tool)

    def wait_until_all_is_posted(self) -> None:
        """Wait until what no page has got yet is in mailboxes, where one will find it."""

        def is_posted() -> bool:
            found = {destination: self.site.counts(destination) for destination in TOOL_OF}
            return all(one.delivered + one.posted == len(self.wanted(name)) for name, one in found.items())

        wait_for(is_posted)

    def wait_until_all_is_handed(self) -> None:
        """Come again until nothing is left in the ledger of any destination; then until each call is noted."""
        # What one browser of a user got is kept from another for a minute.
        wait_for(self._comes_to_nothing_left, 3 * PATIENCE, every=0.5, what=self._what_is_left)
        for destination, tool in TOOL_OF.items():
            wait_for(lambda d=destination, t=tool: self.given(t).total() >= len(self.wanted(d)))  # type: ignore[misc]

    def _comes_to_nothing_left(self) -> bool:
        self.page.open(self.address)
        return not self._what_is_left()

    def _what_is_left(self) -> dict[str, str]:
        left = {}
        for destination in TOOL_OF:
            counts, events = self.site.counts(destination), len(self.wanted(destination))
            if (counts.delivered, counts.posted, counts.queued, counts.claimed, counts.parked) != (events, 0, 0, 0, 0):
                left[destination] = f"{events} events: {counts}"
        return left


def reload(visitor: Visitor) -> None:
    visitor.page.open(visitor.address)


def go_back(visitor: Visitor) -> None:
    visitor.page.open(visitor.address.replace("/page", "/loaded"))
    visitor.emit(2)
    # Not at once: the driver runs a script again whose page has gone meanwhile.
    visitor.page.run("setTimeout(() => history.back())")
    wait_for(lambda: visitor.page.run("return location.pathname + !!window.Tracker?.init") == "/pagetrue")


def open_a_tab(visitor: Visitor) -> None:
    first = visitor.page.new_tab()
    visitor.page.open(visitor.address)
    visitor.emit(2)
    second = visitor.page.tab
    visitor.page.go_to_tab(first)
    visitor.emit(2)
    visitor.page.go_to_tab(second)
    visitor.page.go_to_tab(first, close=True)


def close_the_browser(visitor: Visitor) -> None:
    visitor.page.restart()
    visitor.page.open(visitor.address)


def kill_the_browser(visitor: Visitor) -> None:
    # What a browser has in memory only is lost with it: an event that it could not send, and a test's note of a call.
    visitor.wait_until_all_is_handed()
    visitor.emit_on_server()
    visitor.page.restart(kill=True)
    visitor.page.open(visitor.address)


# On a busy machine a browser that is closed has now and then lost its storage, and its reference with it: what was
# posted for that one waits until it is dead. So it is not closed where a failure would stop everybody.
MOVES: Final[tuple[Callable[[Visitor], None], ...]] = (
    *(reload, go_back, open_a_tab),
    *((close_the_browser, go_back, kill_the_browser) if IS_LONG else ()),
)


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[Visitor]:
    with VendorsSite(tmp_path) as site, Browser() as page:
        site.begin()
        yield Visitor(site, page)


def test_each_tool_gets_its_events_once_whatever_the_visitor_does(visitor: Visitor) -> None:
    visitor.page.open(visitor.address)
    for n in range(VISITS):
        visitor.emit()
        visitor.emit_on_server()
        MOVES[n % len(MOVES)](visitor)
    visitor.wait_until_all_is_handed()

    for destination, tool in TOOL_OF.items():
        assert visitor.given(tool) == visitor.wanted(destination), destination
    left_out = visitor.site.counts(CRAZY_EGG)
    assert left_out.filtered_by_reason.get("no_event_call", 0) == len(visitor.wanted(CRAZY_EGG))
    assert all(event_id in (None, visitor.emitted[n][1]) for _, n, event_id in visitor.calls.values())
    print(f"\n{len(visitor.emitted)} events in {VISITS} visits:", {tool: visitor.given(tool).total() for tool in TOOLS})


@pytest.mark.skipif(not IS_LONG, reason="kills a browser: HANDOVER_VISITS asks for it")
def test_a_browser_that_is_killed_before_it_told_does_not_call_again(visitor: Visitor) -> None:
    visitor.page.open(visitor.address)
    visitor.page.run(
        "const real = fetch;"
        "window.fetch = (url, options) => /handover/.test(url) ? Promise.reject() : real(url, options);"
    )
    visitor.emit(10)
    wanted = {tool: visitor.wanted(destination) for destination, tool in TOOL_OF.items()}
    wait_for(lambda: {tool: visitor.given(tool) for tool in TOOLS} == wanted)
    visitor.page.restart(kill=True)
    visitor.wait_until_all_is_handed()
    assert {tool: visitor.given(tool) for tool in TOOLS} == wanted


def test_tabs_that_get_events_at_one_moment_make_each_call_once(visitor: Visitor) -> None:
    page = visitor.page
    page.open(visitor.address)
    tabs = [page.new_tab(), page.tab]
    page.open(visitor.address)
    for _ in range(10):
        visitor.emit_on_server()
        visitor.wait_until_all_is_posted()
        moment = 1000 * time.time() + 300
        for tab in tabs:
            page.go_to_tab(tab)
            # Which has a page ask what there is.
            page.run("setTimeout(() => dispatchEvent(new Event('online')), arguments[0] - Date.now())", moment)
    visitor.wait_until_all_is_handed()
    for destination, tool in TOOL_OF.items():
        assert visitor.given(tool) == visitor.wanted(destination), destination
