"""Cell: one thing that happens to a page after a click, and how it is done to many visitors."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from selenium.common.exceptions import WebDriverException

from tests.edge.target import Target, origin_of
from tests.support.browser import Browser
from tests.support.waiting import wait_for

# A count that has not changed for so long does not change any more, unless the visitor comes again.
_QUIET_SECONDS: Final = 6.0
_LONGEST_SECONDS: Final = 60.0
# Longer than each of the clients collects events before it sends them.
_LATER_SECONDS: Final = 4.0
# Those who come again stay so long, from when the last of them has come.
_STAY_SECONDS: Final = 2.0
#: Visitors whose tabs are open at a time: each is a process of the browser.
_CROWD: Final = 25
_ONLINE: Final = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}


@dataclass
class Visitor:
    """Someone with an origin of their own, so that nobody else's page sends what theirs left in its storage.

    Args:
        browser: Where a tab of theirs is in front.
        target: Where the clicks go.
        name: Of the visitor, such as ``reload-3``.
    """

    browser: Browser
    target: Target
    name: str
    #: The clicks so far.
    clicks: list[str] = field(default_factory=list)

    def open(self, path: str = "/page") -> None:
        """Open a page, and wait until its client is loaded."""
        self.browser.open(origin_of(self.target.proxy, self.name.replace("_", "-")) + path)
        wait_for(lambda: self.browser.run("return document.readyState") == "complete")

    def click(self, then: str = "") -> None:
        """Click once, and run a script in the same task."""
        cell, _, number = self.name.rpartition("-")
        click = f"edge.{cell}.{number}.{len(self.clicks)}"
        self.browser.run(f"click_(arguments[0]); {then}", click)
        self.clicks.append(click)


Act = Callable[[Visitor], None]


@dataclass(frozen=True)
class Cell:
    """What happens.

    Attributes:
        name: In the command.
        title: In the table.
        what: For readers: what a visitor does, in one sentence.
        act: Does it, in a tab in front.
        stays: Whether the tab stays open until the count rests. Otherwise it is closed at once.
        faults: How often a POST fails, and how.
        preflight_seconds: How long the answer to an OPTIONS takes.
        later: What ends it for visitors that stay, some seconds after the last one of them clicked.
        restarts: Whether the collector is killed before the first half of the visitors come, and started behind them.
    """

    name: str
    title: str
    what: str
    act: Act
    stays: bool = False
    faults: tuple[float, tuple[str, ...]] = (0.0, ())
    preflight_seconds: float = 0.0
    later: Act | None = None
    restarts: bool = False


@dataclass(frozen=True)
class Count:
    """What was counted in a cell for a client.

    Attributes:
        clicks: How many there were.
        at_once: How many were there exactly once before any visitor came again.
        once: How many were there exactly once in the end.
        lost: How many never came.
        doubled: How many came more than once.
        seconds: How long it took.
        names: The clicks, to count again later: a copy may come after the first was counted.
    """

    clicks: int
    at_once: int
    once: int
    lost: int
    doubled: int
    seconds: float
    names: tuple[str, ...] = ()


def play(cell: Cell, browser: Browser, target: Target, runs: int, say: Callable[[str], None]) -> Count:
    """Have visitors come, click and suffer, then come again; count.

    Args:
        cell: What happens to them.
        browser: One for all of them.
        target: Where the clicks go.
        runs: How many visitors.
        say: Called with what happens now.
    """
    begin = time.monotonic()
    proxy = target.proxy
    proxy.faults, kinds = cell.faults
    proxy.kinds = kinds or proxy.kinds
    proxy.preflight_seconds = cell.preflight_seconds
    visitors = [Visitor(browser, target, f"{cell.name}-{number}") for number in range(runs)]
    try:
        for start in range(0, runs, _CROWD):
            crowd = visitors[start : start + _CROWD]
            say(f"{cell.title}: visitors {start + 1} to {start + len(crowd)} of {runs}")
            _visit(cell, crowd)
    finally:
        proxy.faults, proxy.preflight_seconds = 0.0, 0.0
    clicks = [click for visitor in visitors for click in visitor.clicks]
    say(f"{cell.title}: waiting until the count rests")
    rest(target, clicks)
    arrived = target.arrived()
    at_once = sum(arrived[click] == 1 for click in clicks)
    if at_once < len(clicks):
        say(f"{cell.title}: those whose clicks are not there come again")
        missed = [visitor for visitor in visitors if any(arrived[click] != 1 for click in visitor.clicks)]
        for start in range(0, len(missed), _CROWD):
            first, tabs = browser.tab, []
            for visitor in missed[start : start + _CROWD]:
                browser.new_tab()
                visitor.open("/next")
                tabs.append(browser.tab)
            time.sleep(_STAY_SECONDS)
            _close(browser, tabs, first)
        rest(target, clicks)
        arrived = target.arrived()
    return Count(
        clicks=len(clicks),
        at_once=at_once,
        once=sum(arrived[click] == 1 for click in clicks),
        lost=sum(arrived[click] == 0 for click in clicks),
        doubled=sum(arrived[click] > 1 for click in clicks),
        seconds=round(time.monotonic() - begin, 1),
        names=tuple(clicks),
    )


def again(count: Count, target: Target) -> Count:
    """The same count, with the copies that have come since."""
    arrived = target.arrived()
    doubled = sum(arrived[click] > 1 for click in count.names)
    lost = sum(arrived[click] == 0 for click in count.names)
    once = count.clicks - doubled - lost
    return replace(count, once=once, at_once=min(count.at_once, once), lost=lost, doubled=doubled)


def _visit(cell: Cell, crowd: Sequence[Visitor]) -> None:
    """Have these visitors come one after another, and those that stay leave together."""
    browser, target = crowd[0].browser, crowd[0].target
    tabs = []
    first = ""
    for number, visitor in enumerate(crowd):
        if cell.restarts and number == 0:
            target.kill()
        if cell.restarts and number == len(crowd) // 2:
            target.start()
        before = browser.new_tab()
        first = first or before
        visitor.open("/cross" if cell.preflight_seconds else "/page")
        cell.act(visitor)
        if cell.stays:
            tabs.append(browser.tab)
        else:
            with suppress(WebDriverException):
                browser.go_to_tab(first, close=True)
            browser.go_to_tab(first)
    if cell.later is not None:
        time.sleep(_LATER_SECONDS)
        for tab, visitor in zip(tabs, crowd, strict=True):
            browser.go_to_tab(tab)
            cell.later(visitor)
    if tabs:
        rest(target, [click for visitor in crowd for click in visitor.clicks])
        _close(browser, tabs, first)


def _close(browser: Browser, tabs: Sequence[str], first: str) -> None:
    for tab in tabs:
        browser.go_to_tab(tab)
        browser.go_to_tab(first, close=True)


def rest(target: Target, clicks: Sequence[str]) -> None:
    """Wait until all have arrived, or until nothing has for a while."""
    begin = changed = time.monotonic()
    last = -1
    while time.monotonic() - changed < _QUIET_SECONDS and time.monotonic() - begin < _LONGEST_SECONDS:
        arrived = target.arrived()
        count = sum(min(arrived[click], 2) for click in clicks)
        if all(arrived[click] for click in clicks):
            return
        if count != last:
            last, changed = count, time.monotonic()
        time.sleep(0.2)


def _crash(visitor: Visitor) -> None:
    visitor.click()
    with suppress(WebDriverException):
        visitor.browser.devtools("Page.crash")


def _offline(visitor: Visitor) -> None:
    visitor.browser.devtools("Network.enable")
    visitor.browser.devtools("Network.emulateNetworkConditions", offline=True, **_ONLINE)
    visitor.click()
    visitor.click()


def _online(visitor: Visitor) -> None:
    visitor.browser.devtools("Network.emulateNetworkConditions", offline=False, **_ONLINE)


def _back(visitor: Visitor) -> None:
    visitor.click("addEventListener('pageshow', (event) => { window.restored = event.persisted; });")
    visitor.browser.run("document.getElementById('next').click()")
    wait_for(lambda: visitor.browser.run("return location.pathname") == "/next")
    visitor.browser.run("history.back()")
    wait_for(lambda: visitor.browser.run("return location.pathname + document.readyState") == "/pagecomplete")
    visitor.click()


def _two_tabs(visitor: Visitor) -> None:
    browser = visitor.browser
    visitor.click()
    before = browser.new_tab()
    visitor.open()
    visitor.click()
    visitor.click()
    browser.go_to_tab(before, close=True)
    visitor.click()


def _without(path: str) -> Act:
    def act(visitor: Visitor) -> None:
        visitor.open(path)
        visitor.click()

    return act


_NEXT: Final = "document.getElementById('next').click();"
CELLS: Final = {
    cell.name: cell
    for cell in (
        Cell("navigate", "click and navigate", "clicks on a link, which leads away.", lambda v: v.click(_NEXT)),
        Cell("reload", "reload", "clicks, and the page reloads itself.", lambda v: v.click("location.reload();")),
        Cell("close", "close the tab", "clicks and closes the tab.", lambda v: v.click()),
        Cell("crash", "crash", "clicks, and the page's renderer crashes.", _crash),
        Cell(
            "offline",
            "offline and on again",
            "clicks twice while offline; four seconds later the net is back, in the same tab.",
            _offline,
            True,
            later=_online,
        ),
        Cell("back", "back/forward cache", "clicks, goes to the next page and back, and clicks again.", _back, True),
        Cell("tabs", "two tabs", "clicks in turn in two tabs of one site: four clicks.", _two_tabs),
        Cell(
            "full",
            "storage full",
            "has a localStorage that takes nothing more, clicks, and closes the tab.",
            _without("/full"),
        ),
        Cell(
            "forbidden",
            "storage forbidden",
            "has no localStorage, sessionStorage or IndexedDB: each throws. Clicks, closes the tab.",
            _without("/forbidden"),
        ),
        Cell(
            "policy",
            "content policy",
            "clicks in a page whose policy forbids all connections, and closes the tab.",
            _without("/policy"),
        ),
        Cell(
            "preflight_navigate",
            "preflight, navigate",
            "clicks on a link; events go to another origin, whose answer to OPTIONS takes 150 ms.",
            lambda v: v.click(_NEXT),
            preflight_seconds=0.15,
        ),
        Cell(
            "preflight_close",
            "preflight, close",
            "the same, and closes the tab.",
            lambda v: v.click(),
            preflight_seconds=0.15,
        ),
        Cell(
            "errors",
            "20 % answer 503",
            "clicks and stays; one request in five is answered with 503.",
            lambda v: v.click(),
            True,
            (0.2, ("503",)),
        ),
        Cell(
            "cuts",
            "20 % are cut",
            "clicks and stays; one request in five is cut, half of them after the collector has taken it.",
            lambda v: v.click(),
            True,
            (0.2, ("cut before", "cut behind")),
        ),
        Cell(
            "restart",
            "collector restarted",
            "clicks and stays; for half of the visitors the collector is killed and not yet started again.",
            lambda v: v.click(),
            True,
            restarts=True,
        ),
    )
}
