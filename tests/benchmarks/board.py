"""Board: how far its page is behind Redis, and what it costs, while a site delivers and a Chromium looks on."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import quantiles
from typing import Final

from tests.benchmarks.cpu import busy_seconds
from tests.benchmarks.place import Place
from tests.benchmarks.step import Plan, Result, Step
from tests.support.board import Watched, open_board, sees
from tests.support.browser import Browser, missing
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site

# Seconds until the page is drawn and the site has its speed.
_SETTLE_SECONDS: Final = 5.0
# Seconds between two questions to Redis for what it has counted: how exactly the delay is known.
_SAMPLE_SECONDS: Final = 0.01
#: Emits at a steady rate until it is killed.
_EMIT: Final = """
import itertools
began, rate = time.monotonic(), float(sys.argv[1])
for n in itertools.count():
    tracker.emit('shop.order.paid', {'n': n, 'total': 12.5})
    time.sleep(max(0.0, began + (n + 1) / rate - time.monotonic()))
"""
#: Notes what the page shows of a destination's deliveries, whenever that changes.
_OBSERVE: Final = """
const cell = document.querySelector("[aria-label='segment'] .numbers div:nth-child(2) dd");
window.seen = [];
const note = () => window.seen.push([Date.now() / 1000, Number(cell.textContent.replaceAll(",", ""))]);
note();
new MutationObserver(note).observe(cell, {childList: true, characterData: true, subtree: true});
"""


def steps(plan: Plan) -> Iterator[Step]:
    """With one viewer: at rest, and at 1,000 events/s."""
    for rate in (0, 1_000):
        yield Step(
            measurement="board",
            subject="ours",
            case=f"{rate:,} events/s, a viewer" if rate else "at rest, a viewer",
            measure=measure,
            arguments={"rate": rate, "seconds": plan.board_seconds},
            timeout_seconds=60 + 3 * plan.board_seconds,
        )


def measure(place: Place, *, rate: int, seconds: float) -> Result:
    """The board's CPU in milliseconds a second, and quantiles of how old what the page shows is."""
    if missing():
        raise RuntimeError(
            f"{' and '.join(missing())} is not on this machine: apt-get install chromium chromium-driver"
        )
    directory = place.directory / "site"
    directory.mkdir()
    with ExitStack() as stack:
        site = stack.enter_context(open_site(directory, stack.enter_context(RedisServer())))
        watched = stack.enter_context(open_board(site))
        site.worker()
        browser = stack.enter_context(Browser())
        browser.open(watched.url)
        sees(browser, "The sum closes", "segment")
        if rate:
            site.emitting(_EMIT, str(rate))
        time.sleep(_SETTLE_SECONDS)
        return _watch(site, watched, browser, seconds, rate=rate)


def _watch(site: Site, watched: Watched, browser: Browser, seconds: float, *, rate: int) -> Result:
    counted: list[tuple[float, int]] = []
    ends = threading.Event()

    def count() -> None:
        while not ends.wait(_SAMPLE_SECONDS):
            delivered = site.counts("segment").delivered
            counted.append((time.time(), delivered))

    counter = threading.Thread(target=count)
    # Redis first: what the page shows was counted before.
    counter.start()
    try:
        time.sleep(1)
        browser.run(_OBSERVE)
        busy, began = busy_seconds(watched.board.pid), time.monotonic()
        time.sleep(seconds)
        used, took = busy_seconds(watched.board.pid) - busy, time.monotonic() - began
        seen = [(at, number) for at, number in browser.run("return window.seen")]
    finally:
        ends.set()
        counter.join()
    result: Result = {"cpu_ms_s": 1000 * used / took}
    if rate:
        delays = _delays(counted, seen)
        cuts = quantiles(delays, n=100)
        result |= {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98], "max_ms": 1000 * max(delays)}
    return result


def _delays(counted: list[tuple[float, int]], seen: list[tuple[float, int]]) -> list[float]:
    """How long Redis had counted more than the page showed, at each time at which Redis was asked."""
    numbers = [number for _, number in counted]
    shown_at = [at for at, _ in seen]
    delays = []
    for at, number in counted:
        if not shown_at[0] <= at <= shown_at[-1]:
            continue
        shown = seen[bisect_right(shown_at, at) - 1][1]
        # When Redis first had more than that.
        newer = bisect_right(numbers, shown)
        delays.append(max(0.0, at - counted[newer][0]) if number > shown and newer < len(counted) else 0.0)
    return delays
