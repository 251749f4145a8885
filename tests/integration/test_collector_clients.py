"""Real clients before the collector: what they were told was taken is delivered, each message once, as they sent it."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from segment.analytics.client import Client

from dispatcher.outcomes import DUPLICATE
from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.collector import Collector
from tests.support.deliveries import LOG
from tests.support.faulty_proxy import FaultyProxy
from tests.support.json_lines import read_whole_lines
from tests.support.site import Site
from tests.support.waiting import wait_for

PEERS = Path(__file__).parents[1] / "peers/node_modules"
ANALYTICS_JS = PEERS / "@segment/analytics-next/dist/umd"
#: How many events. The long form is `POSTS=10000 make test ARGS=tests/integration/test_collector_clients.py`.
POSTS = int(os.environ.get("POSTS", "250"))
SOURCES = {"web": {"write_key": "k1"}, "server": {"write_key": "k2", "kind": "server"}}


@pytest.fixture
def collecting(site: Site) -> Site:
    """A site with sources."""
    site.environ["DISPATCHER_SOURCES"] = json.dumps(SOURCES)
    return site


def start(site: Site, *arguments: str, **environ: str) -> Collector:
    return Collector(site.processes, site.directory / "state", *arguments, **environ)


@pytest.fixture
def at_segment(collecting: Site) -> tuple[Site, Collector]:
    """A collector whose events a worker delivers to the stand-in for Segment."""
    collector = start(collecting)
    collecting.worker()
    return collecting, collector


def messages(site: Site) -> list[dict[str, Any]]:
    return read_whole_lines(site.directory / "segment.jsonl")


def test_what_segment_analytics_python_sends_arrives_as_it_was(at_segment: tuple[Site, Collector]) -> None:
    site, collector = at_segment
    client = Client("k2", host=f"http://127.0.0.1:{collector.port}", gzip=True, max_retries=2)
    then = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    sent = {}
    for n in range(40):
        _, message = client.track(
            "7", "Order Paid", {"n": n, "é": "🙂"}, {"ip": "198.51.100.9"}, then, message_id=f"m-{n}"
        )
        sent[message["messageId"]] = message
    for call in (
        client.identify("7", {"email": "a@example.org"}, message_id="i"),
        client.group("7", "g", {"plan": "x"}, message_id="g"),
        client.page("7", "Shop", "Home", {"title": "T"}, anonymous_id="a", message_id="p"),
        client.screen("7", "Shop", "Home", integrations={"All": False}, message_id="s"),
        client.alias("old", "7", message_id="a"),
    ):
        sent[call[1]["messageId"]] = call[1]
    client.flush()
    client.join()
    wait_for(lambda: len(messages(site)) >= len(sent), what="all messages at Segment")
    for message in messages(site):
        expected = sent.pop(message["messageId"])
        got = {key: message.get(key) for key in expected if key != "timestamp"}
        wanted = {key: value for key, value in expected.items() if key != "timestamp" and value not in (None, {})}
        assert {key: got[key] for key in wanted} == wanted
        if message["type"] == "track":
            seconds = (datetime.fromisoformat(message["timestamp"]) - then).total_seconds()
            assert 0 <= seconds < 30
    assert sent == {}


def post(port: int, body: bytes, *, waits: bool) -> bool:
    """Send a batch. Returns whether it was acknowledged; without ``waits`` the client is gone before the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/v1/events", body)
        return waits and connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_a_retrying_client_and_kills_leave_each_event_once(collecting: Site) -> None:
    chance = random.Random(POSTS)
    kill_at = set(chance.sample(range(POSTS), max(2, POSTS // 200)))
    external = {"DISPATCHER_RELAY__MODE": "external"}
    collector = start(collecting, **external)
    acknowledged: set[int] = set()
    for number in range(POSTS):
        item = {"id": f"m-{number}", "name": "Order Paid", "data": {"n": number}}
        body = json.dumps({"key": "k2", "events": [item]}).encode()
        if number in kill_at:
            # In the middle of a request, of which nobody knows whether it was taken.
            post(collector.port, body, waits=False)
            collector.child.send(signal.SIGKILL)
            collector.child.wait()
            collector = start(collecting, "--port", str(collector.port), **external)
        while True:
            if post(collector.port, body, waits=chance.random() > 0.2):
                break
        acknowledged.add(number)
    collector.child.send(signal.SIGKILL)
    collector.child.wait()
    collecting.worker()
    collecting.relay_once()
    collecting.wait_until_delivered()
    in_log = Counter(json.loads(line["event"])["n"] for line in read_whole_lines(collecting.log))
    assert set(in_log) == acknowledged
    assert set(in_log.values()) == {1}
    assert collecting.counts(LOG).filtered_by_reason[DUPLICATE] > POSTS // 10
    collecting.assert_ledger_closes()


PAGE = b"""<!doctype html><title>shop</title><script src="/index.js"></script><script>
const loaded = AnalyticsNext.AnalyticsBrowser.load({writeKey: 'k1', cdnURL: location.origin});
async function send(count) { for (let n = 0; n < count; n++) loaded.track('Order Paid', {n}); }
</script>"""


@pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")
@pytest.mark.skipif(
    not ANALYTICS_JS.exists(), reason="@segment/analytics-next is not installed: `make peers` installs it"
)
def test_analytics_js_through_a_bad_net_arrives_once(at_segment: tuple[Site, Collector]) -> None:
    site, collector = at_segment
    count = min(POSTS, 1000)
    files = {f"/{path.name}": ("text/javascript", path.read_bytes()) for path in ANALYTICS_JS.glob("*.js")}
    files["/"] = ("text/html", PAGE)
    with FaultyProxy(collector.port, files=files, faults=0.3, seed=1) as proxy, Browser() as browser:
        browser.open(proxy.url)
        browser.run("send(arguments[0])", count)
        wait_for(
            lambda: len(messages(site)) >= count, 120, what=lambda: f"{len(messages(site))} of {count}: {proxy.made}"
        )
    site.wait_until_delivered()
    found = messages(site)
    assert sorted(message["properties"]["n"] for message in found) == list(range(count))
    assert len({message["messageId"] for message in found}) == count
    assert all(message["messageId"].startswith("ajs-next-") for message in found)
    assert found[0]["context"]["library"]["name"] == "analytics.js"
    assert found[0]["context"]["page"]["title"] == "shop"
    assert min(proxy.made.values()) > 0
