"""Reports to Sentry: real workers and relays, the real SDK, and an ingest endpoint that keeps every byte."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.monitoring.sentry.ledger_watch import LedgerWatch
from dispatcher.store import keys
from dispatcher.store.batches import BatchStore
from dispatcher.store.claim import Claim
from dispatcher.store.dead_event import DeadEvent
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import BreakerSignal, Settlement
from tests.support.processes import MARK, Processes, left_over
from tests.support.redis_server import RedisServer
from tests.support.sentry_ingest import SentryIngest
from tests.support.site import Site
from tests.support.tracking_lines import read_lines
from tests.support.waiting import wait_for

# Each of these is within reach of an error: in payloads, contexts, settings or the environment.
EMAIL, ADDRESS, CARD = "ann@example.org", "203.0.113.77", "4111-1111"
TOKEN, WRITE_KEY, PASSWORD = "token-8c1f", "write-key-77aa", "variable-51d0"
SECRETS = (EMAIL, ADDRESS, CARD, TOKEN, WRITE_KEY, PASSWORD)


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    with SentryIngest() as ingest:
        yield ingest


def assert_nothing_leaked(ingest: SentryIngest) -> None:
    """Check that nothing that was sent, including headers, has a secret in it."""
    assert ingest.received
    for secret in SECRETS:
        assert secret.encode() not in ingest.received, f"{secret} was sent"


def processes_of_their_own(directory: Path, ingest: SentryIngest, state: Path) -> Processes:
    """Processes without a site, which know where to report to, and a secret."""
    environ = {
        "PATH": "/usr/bin:/bin",
        MARK: str(state),
        "DISPATCHER_SENTRY__DSN": ingest.dsn,
        "SHOP_PASSWORD": PASSWORD,
    }
    return Processes(directory, environ)


EMIT = f"""
with tracker.context("request", {{"user_id": 7, "email": "{EMAIL}", "ip": "{ADDRESS}"}}):
    for n in range(30):
        tracker.emit("shop.order.paid", {{"n": n, "card": "{CARD}"}})
"""


def test_a_worker_reports_problems_without_any_event_data(site: Site, ingest: SentryIngest) -> None:
    """One destination raises, one returns dead events, one asks to wait. All have secrets in variables and errors."""
    tables = "".join(
        f'[destinations.{trouble}]\ntype = "tests.support.troubled:Troubled"\nevents = ["shop.*"]\n'
        f'trouble = "{trouble}"\napi_token = "{TOKEN}"\nbatch_events = 5\n'
        "retry = { first_seconds = 0.1, max_seconds = 0.2 }\nbreaker = { failures = 1000 }\n"
        for trouble in ("raises", "refuses", "waits")
    )
    site.allow(["nothing.*"], more=tables)
    site.environ |= {
        "DISPATCHER_SENTRY__DSN": ingest.dsn,
        "DISPATCHER_SENTRY__INTERVAL_SECONDS": "1",
        "DISPATCHER_DESTINATIONS__RAISES__BREAKER__FAILURES": "2",
        "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY": WRITE_KEY,
        "SHOP_PASSWORD": PASSWORD,
    }
    site.emitting(EMIT).succeed()
    worker = site.worker("--pool", "prefork", "--concurrency", "2")

    failed = ingest.wait_for_kind("delivery-failed")
    dead = ingest.wait_for_kind("dead-letters")
    opened = ingest.wait_for_kind("breaker-opened")
    wait_for(
        lambda: sum(event["contexts"]["dispatcher"]["events"] for event in ingest.of_kind("dead-letters")) == 30,
        what=lambda: f"thirty dead letters; there are {ingest.of_kind('dead-letters')}",
    )
    wait_for(lambda: site.counts("waits").retried >= 60, what=lambda: f"retries; there are {site.counts('waits')}")
    assert worker.stop() == 0

    assert_nothing_leaked(ingest)
    assert failed["fingerprint"] == ["dispatcher", "delivery-failed", "raises", "RuntimeError"]
    assert [raised["type"] for raised in failed["exception"]["values"]] == ["KeyError", "RuntimeError"]
    assert failed["exception"]["values"][1]["stacktrace"]["frames"][-1]["function"] == "deliver"
    assert dead["fingerprint"] == ["dispatcher", "dead-letters", "refuses", "no_such_course"]
    assert opened["fingerprint"] == ["dispatcher", "breaker-opened", "raises", "transient"]
    # Retries, and what a library logs of a refused request, are not reported.
    assert {tuple(event["fingerprint"][1:3]) for event in ingest.events} == {
        ("delivery-failed", "raises"),
        ("dead-letters", "refuses"),
        ("breaker-opened", "raises"),
    }
    assert {event["tags"]["dispatcher.role"] for event in ingest.events} == {"worker"}
    assert all(event["environment"] == "development" and "server_name" not in event for event in ingest.events)
    # Nothing is patched, in particular not Celery.
    assert failed["sdk"]["integrations"] == ["atexit", "excepthook"]


TRACED = f"""
import sentry_sdk
from dispatcher.monitoring.sentry import trace_context

sentry_sdk.init(dsn=sys.argv[1], traces_sample_rate=1.0, default_integrations=False)

def request(user, sampled=True):
    with sentry_sdk.start_transaction(op="http.server", name="/buy", sampled=sampled) as transaction:
        with tracker.context("request", {{"user_id": user, "ip": "{ADDRESS}", **trace_context()}}):
            tracker.emit("shop.order.paid", {{"n": user, "card": "{CARD}"}})
            tracker.emit("shop.basket.filled", {{"n": user}})
    return transaction

for user in (1, 2):
    transaction = request(user)
    print(transaction.trace_id, transaction.span_id)
request(3, sampled=False)
sentry_sdk.flush()
"""


def test_deliveries_continue_request_traces_invisibly_to_destinations(site: Site, ingest: SentryIngest) -> None:
    site.environ |= {"DISPATCHER_SENTRY__DSN": ingest.dsn}
    requests = dict(line.split() for line in site.emitting(TRACED, ingest.dsn).succeed().splitlines())
    worker = site.worker()
    site.wait_for_lines(6)
    site.wait_until_delivered()
    assert worker.stop() == 0

    deliveries = [event for event in ingest.transactions if event["transaction"] != "/buy"]
    found = Counter((event["transaction"], event["contexts"]["trace"]["trace_id"]) for event in deliveries)
    # One batch for each destination. The request that was not sampled has no trace.
    wanted = {f"tasks.{name}.deliver" for name in ("tracking_log", "segment")}
    assert found == Counter((name, trace) for name in wanted for trace in requests)
    for event in deliveries:
        trace = event["contexts"]["trace"]
        assert trace["parent_span_id"] == requests[trace["trace_id"]]
        assert (trace["op"], trace["status"]) == ("queue.process", "ok")
        assert event["tags"] == {"dispatcher.role": "worker"}
    assert_nothing_leaked(ingest)

    assert sorted(line["event"]["n"] for line in read_lines(site.log)) == [1, 1, 2, 2, 3, 3]
    for output in (site.log, site.directory / "segment.jsonl"):
        text = output.read_text()
        assert CARD in text
        assert "dispatcher.trace" not in text
        assert not any(trace in text for trace in requests)


def test_one_of_all_workers_reports_an_interval_of_the_ledger(
    redis_server: RedisServer, in_sentry: SentryIngest, tmp_path: Path
) -> None:
    settings = config.load(
        {
            "DISPATCHER_BROKER_URL": redis_server.url,
            "DISPATCHER_STATE_DIRECTORY": str(tmp_path),
            # Long, so that a second check within the test is one too many.
            "DISPATCHER_SENTRY__INTERVAL_SECONDS": "600",
        }
    )
    pool = RedisPool(redis_server.url, timeout_seconds=30)
    store = BatchStore(pool)
    watches = [LedgerWatch(settings) for _ in range(3)]
    letter = DeadEvent("invalid", f"refused {EMAIL}", EMAIL.encode())
    store.put([Put(destination="segment", journal="j", start=0, end=1, packed=pack([b"1"] * 5), count=5)])
    claim = store.claim("segment", "j-0", token="t", lease_seconds=60)
    assert isinstance(claim, Claim)
    refused = BreakerSignal(result="setup")
    store.settle(claim, Settlement(dead=[letter] * 2, left=[b"1"] * 3, error=EMAIL, signal=refused))

    for watch in watches:
        watch.check()
    store.put([Put(destination="segment", journal="j", start=1, end=2, after=1, dead=[letter] * 4)])
    for watch in watches:
        watch.check()
    assert redis_server.call("DEL", keys.REPORTER.of("segment")) == 1, "somebody has the turn until it runs out"
    for watch in watches:
        watch.check()
    pool.close()

    in_sentry.wait_for_kind("breaker-opened")
    wait_for(lambda: len(in_sentry.events) == 3, what=lambda: f"three events, not {in_sentry.events}")
    letters = [event["contexts"]["dispatcher"] for event in in_sentry.of_kind("dead-letters")]
    assert [(facts["events"], facts["dead_letters"]) for facts in letters] == [(2, 2), (4, 6)]
    assert in_sentry.of_kind("breaker-opened")[0]["tags"]["dispatcher.cause"] == "setup"
    assert_nothing_leaked(in_sentry)


@pytest.fixture
def in_sentry(ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SentryIngest]:
    """The ingest endpoint, with this process reporting to it."""
    import sentry_sdk

    from dispatcher.monitoring.sentry import client

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    client.init(config.load({"DISPATCHER_SENTRY__DSN": ingest.dsn}).sentry, environment="test", role="worker")
    yield ingest
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


CRASH = f"""
import logging, os, sys
from dispatcher import config
from dispatcher.monitoring.sentry.start import start_sentry

settings = config.load()
assert start_sentry(settings, role="worker")
logging.lastResort = None

def fail(payload):
    password = payload["card"]
    raise RuntimeError(f"cannot send {{payload}}")

def failing(log, **event):
    try:
        fail(event)
    except RuntimeError:
        log.exception("cannot deliver %s", event)

event = {{"email": "{EMAIL}", "ip": "{ADDRESS}", "card": "{CARD}"}}
for name in ("dispatcher.tasks.worker.bell", "dispatcher.tasks.worker.bell", "celery.worker", "shop.views", "segment"):
    failing(logging.getLogger(name), **event)
logging.getLogger("dispatcher.tasks.destinations.tracking_log").error("no room for %s", event)
logging.getLogger("dispatcher.tasks.worker.watchdog").critical("hung with %s", event)
if len(sys.argv) > 2:
    os._exit(1)
fail(event)
"""


@pytest.mark.parametrize("how", [[], ["at once"]], ids=["by an exception", "without exit handlers"])
def test_a_crash_is_reported_by_type_and_stack_alone(
    tmp_path: Path, ingest: SentryIngest, own_state: Path, how: list[str]
) -> None:
    processes = processes_of_their_own(tmp_path, ingest, own_state)

    assert processes.python(CRASH, TOKEN, *how).wait() == 1

    assert_nothing_leaked(ingest)
    crashes = [event["fingerprint"][2:] for event in ingest.of_kind("crash")]
    assert crashes == [
        ["dispatcher.tasks.worker.bell", "RuntimeError"],
        ["celery.worker", "RuntimeError"],
        ["dispatcher.tasks.worker.watchdog", "none"],
    ]
    uncaught = [event for event in ingest.events if "dispatcher.kind" not in event["tags"]]
    assert len(uncaught) == (0 if how else 1)
    for event in uncaught:
        raised = event["exception"]["values"][0]
        assert (raised["type"], raised["stacktrace"]["frames"][-1]["function"]) == ("RuntimeError", "fail")


# Journals of 8 KiB, of which each process takes two at first.
SMALL = {
    "DISPATCHER_OUTBOX__MAX_EVENT_BYTES": "4000",
    "DISPATCHER_OUTBOX__JOURNAL_BYTES": "8192",
    "DISPATCHER_OUTBOX__KEEP_BYTES": "0",
    "DISPATCHER_STRICT": "false",
}
FILL = f"""
import logging
logging.disable()
for n in range(100):
    tracker.emit("shop.order.paid", {{"card": "{CARD}", "filling": "x" * 3000}})
os._exit(0)
"""


def test_a_relay_reports_nearly_full_outboxes_and_refused_events(site: Site, ingest: SentryIngest) -> None:
    site.redis.kill()
    site.environ |= {**SMALL, "DISPATCHER_OUTBOX__MAX_BYTES": "81920", "DISPATCHER_SENTRY__DSN": ingest.dsn}
    site.emitting(FILL).succeed()

    relay = site.processes.dispatcher("relay")
    full, refused = ingest.wait_for_kind("outbox-nearly-full"), ingest.wait_for_kind("events-refused")
    assert relay.stop() == 0

    assert full["fingerprint"] == ["dispatcher", "outbox-nearly-full"]
    assert full["contexts"]["dispatcher"]["percent"] >= 80
    assert refused["contexts"]["dispatcher"]["events"] > 50
    assert {event["tags"]["dispatcher.role"] for event in ingest.events} == {"relay"}
    assert_nothing_leaked(ingest)


APP = f"""
import logging, signal
logging.disable()
if sys.argv[1:]:
    import sentry_sdk
    sentry_sdk.init(dsn=sys.argv[1], attach_stacktrace=True, auto_enabling_integrations=False)
    sentry_sdk.set_user({{"email": "{EMAIL}"}})
tracker.emit("shop.order.paid", {{"card": "{CARD}"}})
if sys.argv[1:]:
    signal.pause()  # until the test has seen the report
from dispatcher import config
from dispatcher.monitoring.sentry.outbox_watch import OutboxWatch
OutboxWatch(config.load()).check()
print("loaded" if "sentry_sdk" in sys.modules else "not loaded")
os._exit(0)
"""


def test_a_web_app_reports_a_full_outbox_to_its_own_sentry_only(site: Site, ingest: SentryIngest) -> None:
    site.redis.kill()
    # Filled to the limit; the app's process has space for two more files.
    site.environ |= {**SMALL, "DISPATCHER_OUTBOX__MAX_BYTES": "81920"}
    site.emitting(FILL, DISPATCHER_RELAY__MODE="external").succeed()
    more = {"DISPATCHER_OUTBOX__MAX_BYTES": "98304", "DISPATCHER_SENTRY__DSN": ingest.dsn}

    assert site.emitting(APP, **more).succeed() == "not loaded\n"
    assert not ingest.received, "a web process that did not start Sentry has reported to it"

    app = site.emitting(APP, ingest.dsn, **more)
    report = ingest.wait_for_kind("outbox-nearly-full")
    app.kill()
    # Neither the stack with its variables nor the user of the first request.
    assert "user" not in report
    assert not report.get("threads", {}).get("values")
    assert EMAIL not in json.dumps(report)
    assert CARD not in json.dumps(report)


def test_the_supervisor_reports_a_killed_worker(tmp_path: Path, ingest: SentryIngest, own_state: Path) -> None:
    processes = processes_of_their_own(tmp_path, ingest, own_state)
    parent = processes.start(sys.executable, "-m", "dispatcher.local.worker_supervisor", "sleep", "60")
    try:
        worker = wait_for(lambda: [pid for pid in left_over(str(own_state)) if pid != parent.pid and is_asleep(pid)])
        os.kill(worker[0], signal.SIGKILL)

        died = ingest.wait_for_kind("crash")
        assert died["fingerprint"] == ["dispatcher", "crash", "worker", "signal SIGKILL"]
        assert died["tags"]["dispatcher.role"] == "worker_supervisor"
        parent.stop()
    finally:
        processes.close()
    assert len(ingest.events) == 1
    assert_nothing_leaked(ingest)


def is_asleep(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep")
    return False
