"""Segment's own clients before the collector: what they were told was taken is delivered, each message once, as it was.

`make faults` has a client that sends again while the collector is killed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from segment.analytics.client import Client

from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.collector import Collector
from tests.support.faulty_proxy import FaultyProxy
from tests.support.json_lines import read_whole_lines
from tests.support.redis_server import RedisServer
from tests.support.site import Site, open_site
from tests.support.waiting import wait_for

PEERS = Path(__file__).parents[1] / "peers/node_modules"
ANALYTICS_JS = PEERS / "@segment/analytics-next/dist/umd"
#: How many events a page sends. The long form: `POSTS=1000 make test ARGS=tests/integration/test_collector_clients.py`.
POSTS = int(os.environ.get("POSTS", "150"))
SOURCES = {"web": {"write_key": "k1"}, "server": {"write_key": "k2", "kind": "server"}}


@pytest.fixture(scope="module")
def at_segment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Collector]]:
    """A collector whose events a worker delivers to the stand-in for Segment; all tests here share it."""
    with RedisServer() as redis, open_site(tmp_path_factory.mktemp("clients"), redis) as site:
        site.environ["DISPATCHER_SOURCES"] = json.dumps(SOURCES)
        collector = Collector(site.processes, site.directory / "state")
        site.worker()
        yield site, collector
        site.wait_until_delivered()
        site.assert_ledger_closes()


def messages(site: Site, *, are_of_a_page: bool) -> list[dict[str, Any]]:
    """What the stand-in got of analytics.js, or of all others."""
    found = read_whole_lines(site.directory / "segment.jsonl")
    return [message for message in found if message["messageId"].startswith("ajs-next-") is are_of_a_page]


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
    wait_for(lambda: len(messages(site, are_of_a_page=False)) >= len(sent), what="all messages at Segment")
    for message in messages(site, are_of_a_page=False):
        expected = sent.pop(message["messageId"])
        got = {key: message.get(key) for key in expected if key != "timestamp"}
        wanted = {key: value for key, value in expected.items() if key != "timestamp" and value not in (None, {})}
        assert {key: got[key] for key in wanted} == wanted
        if message["type"] == "track":
            seconds = (datetime.fromisoformat(message["timestamp"]) - then).total_seconds()
            assert 0 <= seconds < 600  # an hour off is a zone of time
    assert sent == {}


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
    files = {f"/{path.name}": ("text/javascript", path.read_bytes()) for path in ANALYTICS_JS.glob("*.js")}
    files["/"] = ("text/html", PAGE)
    with FaultyProxy(collector.port, files=files, faults=0.3, seed=1) as proxy, Browser() as browser:
        browser.open(proxy.url)
        browser.run("send(arguments[0])", POSTS)
        wait_for(
            lambda: len(messages(site, are_of_a_page=True)) >= POSTS,
            120,
            what=lambda: f"{len(messages(site, are_of_a_page=True))} of {POSTS}: {proxy.made}",
        )
    site.wait_until_delivered()
    found = messages(site, are_of_a_page=True)
    assert sorted(message["properties"]["n"] for message in found) == list(range(POSTS))
    assert len({message["messageId"] for message in found}) == POSTS
    assert found[0]["context"]["library"]["name"] == "analytics.js"
    assert found[0]["context"]["page"]["title"] == "shop"
    assert min(proxy.made.values()) > 0
