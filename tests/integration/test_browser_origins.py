"""A page before a collector of another origin, in a real Chromium: who may send with cookies, and what it costs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.collector import Collector
from tests.support.events_site import EventsSite
from tests.support.faulty_proxy import FaultyProxy
from tests.support.processes import Processes
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")

JQUERY = Path(__file__).parents[1] / "peers/node_modules/jquery/dist/jquery.js"
PREFLIGHT_SECONDS = 0.15
STORED = "return Object.keys(localStorage).filter((name) => !name.includes('!')).length"


class Net(NamedTuple):
    """Two sites and a collector, each of another origin. Preflights to the collector take long."""

    listed: EventsSite
    foreign: EventsSite
    collector: Collector
    proxy: FaultyProxy

    def page(self, site: EventsSite) -> str:
        """The URL of a page of a site that sends to the collector, with cookies."""
        sends = f"data-delay=0%20data-credentials=include%20data-url={self.proxy.url}/v1/events"
        return f"{site.url}/page?attributes={sends}"

    def names(self) -> list[str]:
        """Of the events that the collector took."""
        return sorted({event["name"] for event in self.collector.events()})

    def methods(self) -> Counter[str]:
        """How many requests of each method came since this was asked last."""
        methods = Counter(method for method, _, _ in self.proxy.requests)
        self.proxy.requests.clear()
        return methods


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    state = tmp_path_factory.mktemp("collector")
    with EventsSite() as listed, EventsSite() as foreign:
        environ = {
            **os.environ,
            "DISPATCHER_STATE_DIRECTORY": str(state),
            "DISPATCHER_SOURCES": json.dumps({"web": {"write_key": "web", "origins": [listed.url]}}),
            "DISPATCHER_RELAY__MODE": "external",
        }
        processes = Processes(state / "logs", environ)
        collector = Collector(processes, state)
        with FaultyProxy(collector.port, files={}, faults=0, seed=1) as proxy:
            proxy.preflight_seconds = PREFLIGHT_SECONDS
            yield Net(listed, foreign, collector, proxy)
        assert collector.child.stop() == 0, collector.child.output


@pytest.fixture
def net(running: Net) -> Net:
    running.proxy.requests.clear()
    return running


def test_a_listed_origin_sends_with_cookies_and_without_a_preflight(net: Net, driven: Browser) -> None:
    driven.open(net.page(net.listed))
    driven.run("document.cookie = 'session=s1'; Tracker.emit('stayed'); return Tracker.flush()")
    assert driven.run(STORED) == 0, "the page may not read the answer"
    assert net.proxy.requests[-1][2]["cookie"] == "session=s1"
    driven.run("Tracker.emit('left'); Tracker.track('Left'); location.href = 'about:blank'")
    wait_for(lambda: {"Left", "left", "stayed"} <= set(net.names()))
    assert set(net.methods()) == {"POST"}


def test_a_foreign_origin_is_refused_and_keeps_its_events(net: Net, driven: Browser) -> None:
    before = net.names()
    driven.open(net.page(net.foreign))
    driven.run("Tracker.emit('foreign'); return Tracker.flush()")
    assert driven.run(STORED) == 1
    told = driven.run(
        """
        const body = JSON.stringify({key: "web", events: []});
        const ask = (credentials) => fetch(arguments[0], {method: "POST", body, credentials})
            .then((answer) => answer.status, (error) => error.name);
        return Promise.all([ask('include'), ask('omit')]);
        """,
        f"{net.proxy.url}/v1/events",
    )
    # With cookies not even the answer can be read; without, it says what is wrong.
    assert told == ["TypeError", 403]
    assert net.names() == before
    assert set(net.methods()) == {"POST"}
    driven.run("Tracker.consent(false)")


def test_a_page_whose_script_never_comes_sends_what_was_queued(net: Net, driven: Browser) -> None:
    driven.open(f"{net.listed.url}/page?stub={net.proxy.url}")
    net.methods()
    ids = driven.run(
        "Tracker.on('queued', () => 1); return [Tracker.emit('queued', 5, {context: {theme: 'dark'}}),"
        "Tracker.track('Queued', {n: 1}), Tracker.identify('7', {plan: 'free'})];"
    )
    driven.open("about:blank")
    wait_for(lambda: set(ids) <= {event["id"] for event in net.collector.events()})
    emitted, track, identify = (event for event in net.collector.events() if event["id"] in ids)
    assert (emitted["name"], emitted["data"], emitted["context"]["theme"]) == ("queued", 5, "dark")
    assert (track["data"]["properties"], identify["data"]["userId"]) == ({"n": 1}, "7")
    assert net.methods() == {"POST": 1}


@pytest.mark.skipif(not JQUERY.exists(), reason="jquery is not installed: `make peers` installs it")
def test_the_old_request_asks_before_it_sends(net: Net, driven: Browser) -> None:
    script = """
        const options = {url: arguments[0], xhrFields: {withCredentials: true}, headers: arguments[2]};
        const began = performance.now();
        return new Promise((resolve) => Logger.log(arguments[1], 1, null, options).always((_, status) => {
            resolve([status, performance.now() - began]);
        }));
    """
    url, own = f"{net.proxy.url}/event", {"X-CSRFToken": "t"}
    query = "none&before=/jquery.js&logger=data-transport=ajax%20data-stage=off"
    net.listed.files["/jquery.js"] = net.foreign.files["/jquery.js"] = JQUERY.read_bytes()
    driven.open(f"{net.listed.url}/logger?{query}")
    net.methods()
    assert driven.run(script, url, "plain", {})[0] == "success"
    assert net.methods() == {"POST": 1}
    status, milliseconds = driven.run(script, url, "asked", own)
    assert (status, net.methods()) == ("success", {"OPTIONS": 1, "POST": 1})
    assert milliseconds >= PREFLIGHT_SECONDS * 1000
    assert {"plain", "asked"} <= set(net.names())
    driven.open(f"{net.foreign.url}/logger?{query}")
    assert driven.run(script, url, "foreign", own)[0] == "error"
    assert net.methods() == {"OPTIONS": 1}
    assert "foreign" not in net.names()
