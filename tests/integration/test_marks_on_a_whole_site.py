"""A whole site full of marked people and secrets: no text that it makes has a mark, wherever somebody could read it."""

from __future__ import annotations

import base64
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer
from tests.support.sentry_ingest import SentryIngest
from tests.support.site import Site, open_site
from tests.support.waiting import wait_for

#: In whatever is of a person, and in whatever is secret. No word of ours has it.
PERSON, SECRET = "zqperson77", "zqsecret88"
LOGIN = f"ops:{SECRET}"
DATA = {
    "email": f"{PERSON}@example.org",
    "password": SECRET,
    "card": f"4111 {PERSON}",
    "nested": [{"phone": f"+49 {PERSON}", f"{PERSON}@example.org": 1}],
}
CONTEXT = {"user_id": f"u-{PERSON}", "username": PERSON, "ip": "203.0.113.77", "session": SECRET, "agent": PERSON}

TABLES = "".join(
    f'[destinations.{trouble}]\ntype = "tests.support.troubled:Troubled"\nevents = ["shop.*"]\n'
    f'trouble = "{trouble}"\napi_token = "{SECRET}"\nbatch_events = 5\n'
    "retry = { first_seconds = 0.2, max_seconds = 0.5 }\nbreaker = { failures = 1000 }\n"
    for trouble in ("raises", "refuses", "waits")
)

EMIT = f"""
import json, logging
logging.basicConfig(level=logging.DEBUG)
data, context = map(json.loads, sys.argv[1:3])

class Hostile:
    def __repr__(self): return "{SECRET}"
    def __str__(self): raise ValueError("{PERSON}")

def refuse(error):
    raise RuntimeError("{PERSON} {SECRET}") from error

with tracker.context("request", context):
    for n in range(20):
        tracker.emit("shop.order.paid", {{**data, "n": n}})
    segment.identify(context["user_id"], {{"email": data["email"]}})
    for bad in (
        {{**data, "x": float("nan")}}, {{**data, "x": Hostile()}}, {{**data, "x": Ellipsis}},
        # A key is part of an error's path, if it looks like one.
        {{**data, "{PERSON}@x": object()}},
        {{**data, Hostile(): 1}}, {{**data, "x": "\\ud800{PERSON}"}}, {{**data, "x": 2**70, "y": complex(1, 2)}},
        {{**data, "x": "{PERSON}" * 200_000}}, "{PERSON}", ["{SECRET}"], {{**data, "x": (one for one in data)}},
    ):
        tracker.emit("shop.bad", bad)
    for name in ("{PERSON} @ x\\n", "", "x" * 300 + "{PERSON}", 5):
        tracker.emit(name, data)
print("emitted")
"""


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    with SentryIngest() as ingest:
        yield ingest


@pytest.fixture
def site(tmp_path: Path, ingest: SentryIngest) -> Iterator[Site]:
    with RedisServer() as redis:
        redis.call("ACL", "SETUSER", "ops", "on", f">{SECRET}", "~*", "&*", "+@all")
        with open_site(tmp_path, redis) as site:
            site.allow(["shop.*"], more=TABLES)
            site.environ |= {
                "DISPATCHER_BROKER_URL": redis.url.replace("redis+socket://", f"redis+socket://ops:{SECRET}@"),
                "DISPATCHER_STRICT": "false",
                "DISPATCHER_SENTRY__DSN": ingest.dsn,
                "DISPATCHER_SENTRY__INTERVAL_SECONDS": "1",
                "DISPATCHER_SENTRY__TRACES_SAMPLE_RATE": "1",
                "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": SECRET,
                "FLOWER_BASIC_AUTH": LOGIN,
                "SHOP_PASSWORD": SECRET,
            }
            yield site


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def fetch(port: int, path: str, login: str | None = None) -> str:
    """A page; empty while nothing listens."""
    headers = {} if login is None else {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


#: What people type who look after a site. ``dead show`` and ``waiting show`` print events, as they are meant to.
COMMANDS = (
    ["status"],
    ["status", "--json"],
    ["doctor"],
    ["doctor", "--json"],
    ["settings", "show"],
    ["settings", "show", "--json"],
    ["settings", "check"],
    ["dead", "list"],
    ["dead", "list", "--json"],
    ["dead", "list", "emit"],
    ["waiting", "list"],
    ["waiting", "list", "waits"],
    ["waiting", "list", "waits", "--json"],
    ["pause", "waits"],
    ["resume", "waits"],
    ["retry", "waits"],
    ["drain", "--timeout", "0.2"],
    ["relay", "--once", "--timeout", "0.2"],
    ["dead", "replay", "refuses", "--dry-run"],
    ["waiting", "move", "waits", "raises", "--dry-run"],
    ["--version"],
)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_text_of_a_site_has_a_mark(site: Site, ingest: SentryIngest) -> None:
    flower_port, exporter_port = free_port(), free_port()
    flower = site.processes.dispatcher("flower", "--port", str(flower_port))
    exporter = site.processes.dispatcher("exporter", "--port", str(exporter_port), "--max-age", "0")
    worker = site.worker("-E", "-n", "worker@shop-1", "--loglevel", "DEBUG", "--pool", "threads")
    wait_for(lambda: "worker@shop-1" in fetch(flower_port, "/metrics"), what=lambda: flower.output)
    emitting = site.emitting(EMIT, json.dumps(DATA), json.dumps(CONTEXT))
    assert "emitted" in emitting.succeed()
    wait_for(lambda: site.counts("refuses").dead >= 20, what=lambda: str(site.ledger()))
    wait_for(lambda: site.counts("waits").retried >= 20, what=lambda: str(site.ledger()))
    wait_for(lambda: site.counts("emit").dead >= 10, what=lambda: str(site.ledger()))
    ingest.wait_for_kind("delivery-failed")
    ingest.wait_for_kind("dead-letters")

    shown: dict[str, str] = {}
    tasks = dict(json.loads(fetch(flower_port, "/api/tasks", LOGIN)))
    assert any(task["state"] == "RETRY" for task in tasks.values())
    pages = ["/", "/workers", "/tasks", "/broker", "/metrics", "/worker/worker@shop-1", "/api/workers", "/api/tasks"]
    for path in [*pages, *(f"/task/{name}" for name in list(tasks)[:20])]:
        shown[f"Flower {path}"] = fetch(flower_port, path, LOGIN)
    shown["metrics"] = fetch(exporter_port, "/metrics")
    assert "dispatcher_dead_letters" in shown["metrics"]
    for command in COMMANDS:
        ended = site.processes.run(*command)
        shown[" ".join(command)] = ended.stdout + ended.stderr
    assert worker.stop() == 0
    shown |= {"worker": worker.output, "app": emitting.output, "flower": flower.output, "exporter": exporter.output}
    shown["Sentry"] = ingest.received.decode(errors="replace")

    assert "RETRY" in shown["Flower /api/tasks"]
    assert "no_such_course" in shown["dead list"]
    assert "shop.bad" in shown["app"]
    leaks = {
        place: text[max(0, text.find(mark) - 200) : text.find(mark) + 60]
        for place, text in shown.items()
        for mark in (PERSON, SECRET)
        if mark in text
    }
    assert leaks == {}
    for place in ("status", "doctor", "dead list", "waiting list waits"):
        assert shown[place].replace("\n", "").isprintable(), place
