"""Outages as an operator sees them on the board, and mends them by its buttons, in a real browser.

With SCREENSHOTS=directory the pictures of docs/how-to/board.md are taken: ``make screenshots``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.disk import SmallDisk
from tests.support.board import PATIENCE, PERSONAL, Watched, accessible, look, open_board, press, sees, take
from tests.support.browser import Browser, missing
from tests.support.processes import Child
from tests.support.redis_server import RedisServer
from tests.support.site import open_site
from tests.support.tracking_lines import count_lines
from tests.support.vendor import SILENT, Reply
from tests.support.vendors.segment import WRITE_KEY, SegmentVendor
from tests.support.waiting import wait_for

#: Longer than a test waits, so that nothing is delivered again before a button is pressed.
LONG_SECONDS = "300"
EVENTS = 12

pytestmark = pytest.mark.timeout(300)


@dataclass
class Outages:
    """A board in a browser, and what can go wrong behind it."""

    watched: Watched
    vendor: SegmentVendor
    disk: SmallDisk
    worker: Child
    browser: Browser
    #: What Segment had before the outage.
    before: int = 0

    def emit(self) -> None:
        self.watched.emit(EVENTS)

    def opens(self, name: str) -> None:
        """Have the board show all of a destination."""
        if self.browser.run("return document.getElementById(`destination-${arguments[0]}-more`).hidden", name):
            press(self.browser, name)

    def order(self, button: str, plan: str, do: str) -> None:
        """Press a button, read what it would do, and press a second time."""
        press(self.browser, button)
        sees(self.browser, plan)
        accessible(self.browser)
        press(self.browser, do)
        wait_for(
            lambda: self.browser.run("return document.getElementById('order-do').hidden"),
            PATIENCE,
            what=lambda: self.browser.text,
        )
        press(self.browser, "Close")

    def is_over(self, delivered: int) -> None:
        """Wait until the page says that all is well, and check that Segment got so many events, each once."""
        site = self.watched.site
        site.wait_until_delivered(PATIENCE)
        sees(self.browser, "The sum closes", "all as they should be")
        site.assert_ledger_closes()
        taken = len(self.vendor.taken)
        assert site.counts("segment").delivered == taken == sum(self.vendor.taken.values()) == self.before + delivered
        assert PERSONAL not in self.browser.source


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if missing():
        pytest.skip(f"{' and '.join(missing())} is not on this machine: apt-get install chromium chromium-driver")
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Outages]:
    directory = tmp_path_factory.mktemp("outages")
    with ExitStack() as stack:
        redis, vendor = stack.enter_context(RedisServer()), stack.enter_context(SegmentVendor())
        # Pictures for the docs show its path.
        of_docs = Path("/var/log/shop") if os.environ.get("SCREENSHOTS") else None
        if of_docs is not None:
            stack.callback(of_docs.rmdir)
        disk = stack.enter_context(SmallDisk(of_docs or directory / "disk"))
        site = stack.enter_context(open_site(directory, redis))
        site.log = disk.directory / "tracking.log"
        site.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH"] = str(site.log)
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__HOST"] = vendor.url
        site.environ["DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"] = WRITE_KEY
        for name in ("SEGMENT", "TRACKING_LOG"):
            site.environ[f"DISPATCHER_DESTINATIONS__{name}__BREAKER__FIRST_SECONDS"] = LONG_SECONDS
            site.environ[f"DISPATCHER_DESTINATIONS__{name}__BREAKER__MAX_SECONDS"] = LONG_SECONDS
        watched = stack.enter_context(open_board(site))
        yield Outages(watched, vendor, disk, site.worker(), browser)


@pytest.fixture
def outages(played: Outages) -> Outages:
    """The board as somebody opens it on a good day."""
    played.before = len(played.vendor.taken)
    played.browser.open(played.watched.url)
    look(played.browser, 1440, "light")
    played.emit()
    played.is_over(EVENTS)
    played.before += EVENTS
    return played


def test_a_vendor_that_refuses_connections_is_paused_and_resumed(outages: Outages) -> None:
    browser, counts = outages.browser, lambda: outages.watched.site.counts("segment")
    outages.vendor.close()
    outages.emit()
    sees(browser, "breaker open", "cannot be reached: connection refused", "next try in")
    outages.opens("segment")
    outages.order("Pause … segment", f"{EVENTS} events wait for it now", "Pause")
    sees(browser, "paused", "Paused for")
    pause = counts().pause
    assert pause is not None
    take(browser, "board-refusing")
    accessible(browser)
    outages.emit()
    sees(browser, f"waiting\n{2 * EVENTS}")
    outages.vendor.start()
    outages.order("Resume … segment", f"{2 * EVENTS} events wait", "Resume")
    outages.order("Retry now … segment", "tried at once", "Retry now")
    outages.is_over(2 * EVENTS)


def test_a_vendor_that_hangs_is_tried_again_in_vain_and_then_well(outages: Outages) -> None:
    browser = outages.browser
    outages.vendor.always = SILENT
    outages.emit()
    sees(browser, "breaker open", "no answer")
    outages.opens("segment")
    take(browser, "board-hanging")
    tries = len(outages.vendor.calls)
    outages.order("Retry now … segment", f"{EVENTS} events", "Retry now")
    wait_for(lambda: len(outages.vendor.calls) > tries, PATIENCE, what=lambda: browser.text)
    outages.vendor.always = None
    wait_for(lambda: outages.watched.site.counts("segment").claimed == 0, PATIENCE)
    # Without a number: where the breaker is not open yet, the batch may have been retried by itself.
    outages.order("Retry now … segment", "tried at once", "Retry now")
    outages.is_over(EVENTS)


def test_a_vendor_that_answers_401_waits_for_who_mends_the_key(outages: Outages) -> None:
    browser = outages.browser
    outages.vendor.always = Reply(status=401)
    outages.emit()
    sees(browser, "breaker open", "(setup)", "answered 401")
    outages.opens("segment")
    take(browser, "board-401")
    accessible(browser)
    assert outages.watched.site.counts("segment").dead == 0
    press(browser, "Look for problems")
    sees(browser, "error: deliveries.", "answered 401", "the worst last")
    accessible(browser)
    outages.vendor.always = None
    outages.order("Retry now … segment", f"{EVENTS} events", "Retry now")
    outages.is_over(EVENTS)


def test_a_full_disk_parks_what_is_for_the_log_until_there_is_room(outages: Outages) -> None:
    browser, site = outages.browser, outages.watched.site
    lines = count_lines(site.log)
    outages.disk.fill(leave=0, processes=[outages.worker])
    outages.emit()
    sees(browser, "breaker open", "tracking log", "make room on its disk")
    outages.opens("tracking_log")
    take(browser, "board-full-disk")
    accessible(browser)
    outages.disk.free()
    outages.order("Retry now … tracking_log", "tried at once", "Retry now")
    outages.is_over(EVENTS)
    assert count_lines(site.log) == lines + EVENTS


def test_events_that_a_vendor_refuses_are_looked_at_replayed_and_dropped(outages: Outages) -> None:
    browser, site = outages.browser, outages.watched.site
    outages.vendor.always = Reply(status=400)
    outages.emit()
    wait_for(lambda: site.counts("segment").dead == EVENTS, PATIENCE, what=lambda: browser.text)
    outages.vendor.always = None
    outages.opens("segment")
    sees(browser, "Dead letters by reason", "invalid")
    press(browser, "List dead letters of segment: invalid")
    sees(browser, "To look at an event's data is logged")
    assert PERSONAL not in browser.source
    take(browser, "board-dead-letters", to="#letters")
    accessible(browser)
    press(browser, browser.run("return document.querySelector('#letters-list button').ariaLabel"))
    sees(browser, PERSONAL)
    assert "ops looked at dead letter" in outages.watched.board.output
    press(browser, "Close")
    browser.run("document.getElementById('letters-list').replaceChildren()")
    outages.order("Replay … dead letters of segment: invalid", f"{EVENTS} dead letters", "Replay")
    outages.is_over(EVENTS)

    outages.vendor.always = Reply(status=400)
    outages.emit()
    wait_for(lambda: site.counts("segment").dead == EVENTS, PATIENCE, what=lambda: browser.text)
    outages.vendor.always = None
    outages.order("Drop … dead letters of segment: invalid", f"Deletes {EVENTS} dead letters", "Drop for good")
    sees(browser, "What people did", f"dead drop: {EVENTS} dead letters")
    outages.is_over(EVENTS)


@pytest.mark.skipif("SCREENSHOTS" not in os.environ, reason="it is for the docs' picture, and takes a minute")
def test_the_board_under_load_with_a_vendor_that_is_down(outages: Outages) -> None:
    browser, site = outages.browser, outages.watched.site
    code = """
import itertools
began = time.monotonic()
for n in itertools.count():
    tracker.emit('shop.order.paid', {'n': n})
    time.sleep(max(0.0, began + (n + 1) / 1000 - time.monotonic()))
"""
    load = site.emitting(code)
    # Two samples for the charts, with all well.
    wait_for(lambda: len(outages.watched.ask("/api/history").json["at_ms"]) >= 4, 120)
    outages.vendor.always = Reply(status=503)
    sees(browser, "breaker open", "503")
    samples = len(outages.watched.ask("/api/history").json["at_ms"])
    wait_for(lambda: len(outages.watched.ask("/api/history").json["at_ms"]) > samples, 120)
    outages.opens("segment")
    take(browser, "board")
    # Python takes it as Ctrl-C, and empties its outbox.
    load.send(signal.SIGINT)
    load.wait(PATIENCE)
    outages.vendor.always = None
    outages.order("Retry now … segment", "tried at once", "Retry now")
    site.wait_until_delivered(PATIENCE)
    site.assert_ledger_closes()
