"""Live events, with a real Redis, a worker, a browser and a terminal's pipe: who sees what, and who sees nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.store.counts import NOT_TAKEN
from dispatcher.store.keys import VIEWED, VIEWERS
from tests.support.board import LOGIN, PATIENCE, PERSONAL, Watched, accessible, open_board, press, sees
from tests.support.browser import Browser, missing
from tests.support.processes import Child
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.waiting import wait_for

#: A name and a value that would do something to a page or a terminal that does not take them for text.
HOSTILE = "<img src=x onerror=window.hacked=1>"
EVIL = '</script><script>window.hacked=1</script>"><svg onload=window.hacked=1> \x1b[31m\u202e'

pytestmark = pytest.mark.timeout(300)


#: Emits what it reads, a number, a context, a name and data on each line, and says the number with the event's id.
EMITTER = """
import json
for line in open(sys.argv[1]):
    number, context, name, data = json.loads(line)
    with tracker.context("test", context):
        report(number, tracker.emit(name, data))
"""


class Emitter:
    """A process of the site that emits what it is told, since to start one for each event takes a second."""

    def __init__(self, site: Site) -> None:
        path = site.directory / "to-emit"
        os.mkfifo(path)
        self.child = site.emitting(EMITTER, str(path))
        self._pipe = path.open("w", buffering=1)
        self._count = 0

    def emit(self, name: str, data: dict[str, Any], context: dict[str, Any] | None = None) -> str:
        """Emit one event. Returns its id."""
        self._count += 1
        self._pipe.write(json.dumps([self._count, context or {}, name, data]) + "\n")
        said = f"report: {self._count} "
        wait_for(lambda: said in self.child.output, PATIENCE, what=lambda: self.child.output)
        return self.child.output.partition(said)[2][:36]

    def close(self) -> None:
        self._pipe.close()
        self.child.succeed(PATIENCE)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with RedisServer() as redis, open_site(tmp_path_factory.mktemp("live"), redis) as site:
        site.worker()
        with open_board(site) as watched:
            yield watched


@pytest.fixture(scope="module")
def emitter(watched: Watched) -> Iterator[Emitter]:
    emitter = Emitter(watched.site)
    yield emitter
    emitter.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if missing():
        pytest.skip(f"not installed: {', '.join(missing())}")
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser, watched: Watched) -> Iterator[Browser]:
    """A browser that looks at nothing before and after."""
    yield chromium
    chromium.open("about:blank")
    wait_for(lambda: viewers(watched.site) == 0, PATIENCE, what="the page's lease to end")


@pytest.fixture(autouse=True)
def nobody_looks(watched: Watched) -> None:
    """Only so many may look at a time, and those of an earlier test may have been killed."""
    RedisPool(watched.site.redis.url, timeout_seconds=5).execute("DEL", VIEWERS.of(NOT_TAKEN))


def viewers(site: Site) -> int:
    return int(RedisPool(site.redis.url, timeout_seconds=30).execute("ZCARD", VIEWERS.of(NOT_TAKEN)))


def emit_until_seen(
    emitter: Emitter, seen: Callable[[list[str]], bool], name: str, data: dict[str, Any], context: Any = None
) -> list[str]:
    """Emit again and again until it was seen: of who begins to look, others know a second later. Returns all ids."""
    ids: list[str] = []

    def emit_and_look() -> bool:
        ids.append(emitter.emit(name, data, context))
        time.sleep(0.3)
        return seen(ids)

    wait_for(emit_and_look, PATIENCE, what="an event to be seen")
    return ids


def has_whole_row(browser: Browser) -> bool:
    """Whether the newest row has what the relay says, and not only what a worker did."""
    return bool(browser.run("return Boolean(document.querySelector('#events .event .who')?.textContent)"))


def tailing(site: Site, *arguments: str, **environ: str) -> Child:
    child = site.processes.dispatcher("tail", *arguments, **environ)
    child.wait_for_output("looking", PATIENCE)
    return child


def items(child: Child) -> list[dict[str, Any]]:
    return [json.loads(line) for line in child.output.splitlines() if line.startswith("{") and line.endswith("}")]


def test_tail_shows_each_event_its_way_and_what_became_of_it(watched: Watched, emitter: Emitter) -> None:
    child = tailing(watched.site, "--json")

    def is_whole(ids: list[str]) -> bool:
        return {(one["kind"], one.get("destination")) for one in items(child) if one["id"] == ids[-1]} == {
            ("event", None),
            ("delivery", "tracking_log"),
        }

    ids = emit_until_seen(emitter, is_whole, "page.viewed", {"email": PERSONAL}, {"user_id": 7})
    event, delivery = sorted((one for one in items(child) if one["id"] == ids[-1]), key=lambda one: str(one["kind"]))[
        ::-1
    ]
    assert (event["name"], event["users"], event["goes"]) == ("page.viewed", ["7"], ["tracking_log"])
    assert event["skipped"] == {"segment": "not_on_allowlist"}
    assert event["event"]["data"] == {"email": PERSONAL}
    assert (delivery["outcome"], delivery["attempt"], delivery["together"]) == ("delivered", 1, 1)
    assert "page.viewed" in json.dumps(delivery["sent"]["line"])
    child.send(signal.SIGINT)
    assert child.wait() == 0, child.output
    assert "Traceback" not in child.output


def test_tail_shows_only_what_it_was_asked_for(watched: Watched, emitter: Emitter) -> None:
    by_name = tailing(watched.site, "--json", "--name", "shop.*.paid")
    by_user = tailing(watched.site, "--json", "--user", "ada", "--destination", "segment")
    other, paid = "shop.order.left", "shop.order.paid"
    emit_until_seen(emitter, lambda _: items(by_user), other, {"n": 1}, {"username": "ada"})
    emit_until_seen(emitter, lambda _: items(by_name), paid, {"n": 2}, {"username": "eve"})
    by_id = tailing(watched.site, "--json", "--id", "0" * 36)
    assert {one["name"] for one in items(by_name)} == {paid}
    assert {one["name"] for one in items(by_user)} == {other}
    assert {one["destination"] for one in items(by_user) if one["kind"] == "delivery"} <= {"segment"}
    for child in (by_name, by_user, by_id):
        assert child.stop() == 0, child.output
    assert items(by_id) == []
    assert viewers(watched.site) == 0


def test_a_delivery_shows_the_request_without_its_credentials(watched: Watched, emitter: Emitter) -> None:
    child = tailing(watched.site, "--json", "--destination", "segment")

    def deliveries() -> list[dict[str, Any]]:
        return [one for one in items(child) if one["kind"] == "delivery"]

    emit_until_seen(emitter, lambda _: deliveries(), "shop.order.paid", {"n": 1})
    request = deliveries()[0]["sent"]["request"]
    assert request["url"].startswith(watched.site.segment_stub.url)
    assert request["body"]["batch"][0]["event"] == "shop.order.paid"
    assert request["headers"]["Authorization"] == "***"
    assert "a-key" not in child.output
    with watched.outage():
        emitter.emit("shop.order.paid", {"n": 2})
        wait_for(lambda: any(one["outcome"] == "retry" for one in deliveries()), PATIENCE, what=lambda: child.output)
    failed = next(one for one in deliveries() if one["outcome"] == "retry")
    assert "cannot be reached" in failed["error"]
    assert child.stop() == 0


def test_text_in_a_pipe_has_no_colours_and_no_controls(watched: Watched, emitter: Emitter) -> None:
    child = tailing(watched.site)
    emit_until_seen(emitter, lambda _: "goes to" in child.output, HOSTILE, {"n": EVIL}, {"username": EVIL})
    assert child.stop() == 0
    line = next(line for line in child.output.splitlines() if HOSTILE in line and "goes to" in line)
    assert "goes to tracking_log" in line
    assert "not segment: not_on_allowlist" in line
    assert "\x1b" not in child.output
    assert "\u202e" not in child.output


def test_nothing_is_shown_without_debug_and_it_says_how(watched: Watched) -> None:
    child = watched.site.processes.dispatcher("tail", DISPATCHER_DEBUG="false")
    assert child.wait(PATIENCE) == 3, child.output
    assert "DISPATCHER_DEBUG=true" in child.output
    child = watched.site.processes.dispatcher("tail", DISPATCHER_ENVIRONMENT_FILE="/proc/1/no-such-file")
    assert child.wait(PATIENCE) == 3, child.output
    child = watched.site.processes.dispatcher("tail", "--destination", "nowhere")
    assert child.wait(PATIENCE) == 2, child.output
    # A relay without debug shows nothing to who looks all the same.
    child = tailing(watched.site, "--json", "--name", "quiet.*")
    code = "tracker.emit('quiet.one', {}); time.sleep(1.5); tracker.emit('quiet.two', {}); dispatcher.flush(timeout=60)"
    watched.site.emitting(code, DISPATCHER_DEBUG="false").succeed(PATIENCE)
    watched.site.wait_until_delivered(PATIENCE)
    assert [one for one in items(child) if one["kind"] == "event"] == []
    assert child.stop() == 0


def test_only_so_many_look_at_a_time_and_a_lost_one_is_forgotten(watched: Watched) -> None:
    children = [tailing(watched.site, "--name", f"no.such.{n}") for n in range(4)]
    refused = watched.site.processes.dispatcher("tail")
    assert refused.wait(PATIENCE) == 5, refused.output
    assert "4 look at live events already" in refused.output
    for child in children:
        child.kill()
        child.wait(PATIENCE)

    def opens() -> bool:
        child = watched.site.processes.dispatcher("tail")
        wait_for(lambda: "looking" in child.output or not child.running, PATIENCE, what=lambda: child.output)
        return child.running and child.stop() == 0

    wait_for(opens, PATIENCE, what="a lease to run out")


def test_the_page_shows_an_event_and_a_link_finds_it_again(
    watched: Watched, emitter: Emitter, browser: Browser
) -> None:
    browser.open(f"http://{LOGIN}@127.0.0.1:{watched.port}/live?name=shop.order.*")
    sees(browser, "looking")
    emit_until_seen(emitter, lambda _: has_whole_row(browser), "shop.order.paid", {"email": PERSONAL}, {"user_id": 7})
    sees(browser, "user 7", "segment delivered", "tracking_log delivered")
    press(browser, "shop.order.paid")
    sees(browser, "its allowlist", "Try 1,", "The request: POST http://127.0.0.1")
    press(browser, "Go on")
    link = browser.run("return document.querySelector('.identity a').href")
    for scheme in ("light", "dark"):
        browser.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        accessible(browser)
    browser.devtools("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=False)
    assert browser.run("return document.documentElement.scrollWidth") == 360
    accessible(browser)
    browser.devtools("Emulation.clearDeviceMetricsOverride")
    browser.open(link)
    sees(browser, "The event that you look for", "tracking_log in the log")
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    sees(browser, PERSONAL)
    browser.open(f"http://127.0.0.1:{watched.port}/live?id={'0' * 36}")
    sees(browser, "Nothing of it is here")


def test_hostile_names_and_data_are_text_on_the_page(watched: Watched, emitter: Emitter, browser: Browser) -> None:
    browser.open(f"http://{LOGIN}@127.0.0.1:{watched.port}/live?user=mallory")
    sees(browser, "looking")
    data = {"n": EVIL, EVIL: [EVIL]}
    emit_until_seen(emitter, lambda _: has_whole_row(browser), HOSTILE, data, {"username": "mallory", "path": EVIL})
    browser.run("document.querySelector('#events .toggle').click()")
    sees(browser, "No entry of the destination's allowlist")
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    sees(browser, "window.hacked=1")
    assert browser.run(
        "return window.hacked === undefined && document.querySelectorAll('main img, main svg').length === 0"
    )
    accessible(browser)


def test_a_dead_letter_and_what_waits_are_found_by_their_id(watched: Watched, emitter: Emitter) -> None:
    big = emitter.emit("shop.order.paid", {"text": "x" * 40_000})
    wait_for(lambda: watched.shown()["dead"], PATIENCE, what=watched.shown)
    found = watched.ask(f"/api/find?id={big}").json
    assert {(one["destination"], one["state"]) for one in found["places"]} >= {("segment", "dead")}
    assert found["event"]["name"] == "shop.order.paid"
    with watched.outage():
        waits = emitter.emit("shop.order.paid", {"n": 1})
        wait_for(
            lambda: (
                ("segment", "waiting")
                in {(one["destination"], one["state"]) for one in watched.ask(f"/api/find?id={waits}").json["places"]}
            ),
            PATIENCE,
            what="the event to wait",
        )
    assert watched.ask("/api/find?id=").status == 400
    assert watched.ask(f"/api/find?id={'x' * 200}").status == 400


def test_an_unread_stream_stays_small_and_goes(watched: Watched) -> None:
    child = tailing(watched.site, "--name", "flood.*")
    child.send(signal.SIGSTOP)
    try:
        code = "for n in range(3000):\n    tracker.emit('flood.one', {'text': 'x' * 2000})\n    time.sleep(0.0005)\n"
        watched.site.emitting(code + "dispatcher.flush(timeout=60)").succeed(PATIENCE)
        pool = RedisPool(watched.site.redis.url, timeout_seconds=30)
        keys = list(pool.scan(VIEWED.of(NOT_TAKEN, "*"), count=1000))
        for key in keys:
            assert int(pool.execute("XLEN", key)) <= 500
            # Each may end in between.
            assert int(pool.execute("MEMORY", "USAGE", key) or 0) < 34_000_000
            assert int(pool.execute("TTL", key)) != -1, "it never ends"
    finally:
        child.send(signal.SIGCONT)
    assert child.stop() == 0
