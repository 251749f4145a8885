"""The snapshot of a real site, as ``dispatcher exporter`` and ``dispatcher status`` show it."""

from __future__ import annotations

import http.client
import json
import re
import signal
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.cli.main import main
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.event import Event, encode
from dispatcher.monitoring.metrics import DEFINITIONS
from dispatcher.monitoring.snapshot import Observer
from dispatcher.store import doorbell, keys
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from tests.support.deliveries import take_all
from tests.support.json_lines import whole_lines
from tests.support.processes import Child
from tests.support.site import Site
from tests.support.waiting import wait_for

LOG, SEGMENT = "tracking_log", "segment"


def get(url: str, path: str = "/metrics") -> tuple[int, str]:
    """The status and text of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def scrape(url: str) -> dict[str, float]:
    """The values of a scrape, by name and the values of the labels: ``dispatcher_events_waiting segment parked``."""
    status, text = get(url)
    assert status == 200, text
    return {
        " ".join([sample.name, *(value for _, value in sorted(sample.labels.items()))]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def start(site: Site, *arguments: str) -> tuple[Child, str]:
    """Start an exporter that takes a snapshot for every scrape. Returns it and the URL of its metrics."""
    child = site.processes.dispatcher("exporter", "--port", "0", "--max-age", "0", *arguments)
    child.wait_for_output("/metrics")
    found = re.search(r"http://\S+", child.output)
    assert found is not None
    return child, found[0]


def put(site: Site, count: int, destination: str = LOG) -> None:
    """Put ``count`` events for a destination, as a relay would."""
    event = encode(Event(id="1", name="shop.order.paid", timestamp=datetime.now(UTC), data={}, context={}))
    packed = pack([event] * count)
    share = Put(destination=destination, journal="a-journal", start=0, end=8, packed=packed, count=count)
    ring = doorbell.Ring(destination=destination, batch_id=share.batch_id, count=count)
    site.store.put([share], *doorbell.commands([ring]))


def status(*arguments: str) -> Result:
    """Run ``dispatcher status`` in this process, which has the settings of the site."""
    return CliRunner().invoke(main, ["status", *arguments])


def observe(site: Site) -> Any:
    pool = RedisPool(site.redis.url, timeout_seconds=30)
    try:
        return Observer(site.settings(), pool).take_snapshot()
    finally:
        pool.close()


def test_the_metrics_count_outcomes_and_hold_no_names_or_personal_data(site: Site) -> None:
    _, url = start(site)
    before = scrape(url)
    assert before["dispatcher_up"] == 1
    assert before[f"dispatcher_events_accepted_total {LOG}"] == 0

    site.emitting(
        "for n in range(7): tracker.emit('shop.order.paid', {'email': 'ada@example.org'})\n"
        "for n in range(3): tracker.emit('shop.basket.seen', {'email': 'ada@example.org'})\n"
        "dispatcher.flush(60)"
    ).succeed()
    found = scrape(url)
    assert found[f"dispatcher_events_accepted_total {LOG}"] == 10
    assert found[f"dispatcher_events_waiting {LOG} queued"] == 10
    assert found[f"dispatcher_batches_waiting {LOG} queued"] == found[f"dispatcher_doorbells_waiting {LOG}"] > 0
    filtered = [
        value for name, value in found.items() if name.startswith(f"dispatcher_events_filtered_total {SEGMENT}")
    ]
    assert filtered == [3]

    site.worker()
    site.wait_until_delivered()
    found = scrape(url)
    assert found[f"dispatcher_events_delivered_total {LOG}"] == 10
    assert found[f"dispatcher_events_delivered_total {SEGMENT}"] == 7
    assert found[f"dispatcher_events_waiting {LOG} queued"] == found[f"dispatcher_batches_waiting {LOG} queued"] == 0
    assert found[f"dispatcher_last_delivery_timestamp_seconds {LOG}"] > 0
    assert [found[f"dispatcher_ledger_difference {name}"] for name in (LOG, SEGMENT, "emit")] == [0, 0, 0]
    assert {name.split()[0] for name in found} <= {definition.name for definition in DEFINITIONS}
    text = get(url)[1]
    assert "ada@" not in text
    assert "shop." not in text


def test_metrics_and_status_show_a_destination_that_is_down(in_site: Site) -> None:
    site = in_site
    port = site.segment_stub.port
    site.segment_stub.stop()
    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__BREAKER__FAILURES"] = "1"
    site.worker()
    _, url = start(site)
    put(site, 5, SEGMENT)
    wait_for(lambda: scrape(url)[f"dispatcher_breaker_open {SEGMENT}"] == 1, what=lambda: scrape(url))
    found = scrape(url)
    assert found[f"dispatcher_breaker_cause transient {SEGMENT}"] == 1
    assert sum(found[f"dispatcher_events_waiting {SEGMENT} {state}"] for state in ("queued", "claimed", "parked")) == 5
    assert found[f"dispatcher_retries_total {SEGMENT}"] >= 5
    assert found[f"dispatcher_breaker_open {LOG}"] == 0

    shown = status()
    assert shown.exit_code == 0, shown.output
    assert "segment: breaker open for " in shown.output
    assert "The sum closes" in shown.output
    [waits] = [line for line in shown.output.partition("What waits")[2].splitlines() if line.startswith("segment ")]
    assert waits.split()[-1] in ("open", "half-open")

    with type(site.segment_stub)(port=port):
        wait_for(lambda: scrape(url)[f"dispatcher_events_delivered_total {SEGMENT}"] == 5, what=lambda: scrape(url))
        assert scrape(url)[f"dispatcher_breaker_open {SEGMENT}"] == 0


def test_the_exporter_stays_healthy_without_redis_and_shows_the_outboxes(in_site: Site) -> None:
    site = in_site
    exporter, url = start(site)
    site.redis.stop()
    site.leave_behind(5)

    found = scrape(url)
    assert found["dispatcher_up"] == 0
    assert found["dispatcher_outbox_events"] == 5
    assert found["dispatcher_outbox_directories dead"] == 1
    assert not [name for name in found if "events_accepted" in name]
    assert get(url, "/-/healthy")[0] == 200

    done = status()
    assert (done.exit_code, "5 events" in done.output) == (4, True)
    done = status("--json")
    assert done.exit_code == 4
    answer = json.loads(done.stdout)
    assert (answer["destinations"], answer["outbox"]["waiting"]) == ({}, 5)
    assert "does not answer" in answer["problem"]

    site.redis.start()
    site.relay_once()
    assert scrape(url)[f"dispatcher_events_accepted_total {LOG}"] == 5
    assert exporter.running


def test_the_exporter_answers_404_for_unknown_paths_and_keeps_its_port(site: Site) -> None:
    exporter, url = start(site)
    second = site.processes.run("exporter", "--port", str(urlsplit(url).port))
    assert second.returncode == 1
    assert "choose another --address or --port" in second.stderr
    assert "Traceback" not in second.stderr
    assert get(url, "/")[0] == 200
    assert get(url, "/nothing")[0] == 404
    exporter.send(signal.SIGTERM)
    assert exporter.wait() == 0
    assert "Traceback" not in exporter.output


def test_a_disabled_or_removed_destination_with_waiting_events_is_shown(site: Site) -> None:
    put(site, 4)
    put(site, 4, SEGMENT)
    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__ENABLED"] = "false"
    with site.redis.client() as client:
        client.hset(keys.COUNTS.of("google_analytics"), mapping={"accepted": 9, "delivered": 7, "dead": 2})
        client.hset(keys.COUNTS.of("nothing_left"), mapping={"accepted": 9, "delivered": 9})

    found = observe(site)
    assert {name: counts.waiting for name, counts in found.unserved.items()} == {SEGMENT: 4, "google_analytics": 0}
    assert found.unserved["google_analytics"].dead == 2
    assert set(found.ledger.destinations) == {LOG, "emit"}
    # Otherwise `dispatcher drain` would wait for unserved destinations for ever.
    assert found.ledger.waiting == 4


def test_the_key_scan_finds_every_destination_among_many_keys(site: Site) -> None:
    names = {f"old_{number}" for number in range(20)}
    with site.redis.client() as client:
        client.mset({f"something:{number}": "" for number in range(20_000)})
        for name in names:
            client.hset(keys.COUNTS.of(name), mapping={"accepted": 1, "queued": 1})
    assert set(observe(site).unserved) == names


def test_status_exits_1_when_the_ledger_does_not_close(in_site: Site) -> None:
    put(in_site, 2)
    assert status().exit_code == 0
    with in_site.redis.client() as client:
        client.hincrby(keys.COUNTS.of(LOG), "delivered", 1)
    done = status()
    assert done.exit_code == 1
    assert "The sum of tracking_log does not close: 2 accepted, but 1 + 2 + 0 + 0 = 3." in " ".join(done.output.split())
    done = status("--json")
    assert (done.exit_code, json.loads(done.stdout)["closes"]) == (1, False)


def test_a_redis_that_hides_its_memory_use_is_read_nonetheless(site: Site) -> None:
    with site.redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
    put(site, 1)
    found = observe(site)
    assert found.memory is None
    assert found.ledger.destinations[LOG].accepted == 1


def test_watch_shows_a_rate_and_goes_on_while_redis_is_down(site: Site) -> None:
    watch = site.processes.dispatcher("status", "--watch", "--every", "0.1", "--json")
    watch.wait_for_output("at_ms")
    put(site, 20)
    take_all(site)

    def looks() -> list[dict[str, Any]]:
        return [json.loads(line) for line in whole_lines(watch.output.encode()) if line.endswith(b"}")]

    wait_for(
        lambda: any((look["destinations"][LOG]["per_second"] or 0) > 0 for look in looks() if look["destinations"]),
        what=lambda: watch.output[-2_000:],
    )
    site.redis.stop()
    wait_for(lambda: looks()[-1]["problem"])
    site.redis.start()
    wait_for(lambda: looks()[-1]["destinations"])
    watch.send(signal.SIGTERM)
    assert watch.wait() == 0
    assert "Traceback" not in watch.output


def test_up_serves_metrics_on_request(site: Site) -> None:
    up = site.processes.dispatcher("up", "--no-flower", "--metrics-port", "0")
    up.wait_for_output("/metrics")
    found = re.search(r"http://127\.0\.0\.1:\d+/metrics", up.output)
    assert found is not None, up.output
    put(site, 2)
    site.wait_until_delivered()
    assert scrape(found[0])[f"dispatcher_events_delivered_total {LOG}"] == 2
    up.send(signal.SIGINT)
    assert up.wait(60) == 0
    assert "Traceback" not in up.output
