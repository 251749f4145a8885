"""Unusual contents of a batch: JSON put into the data unread, and damage in Redis."""

from __future__ import annotations

from dispatcher.store import keys
from tests.support.deliveries import LOG
from tests.support.site import Site
from tests.support.tracking_lines import read_lines, tally
from tests.support.waiting import wait_for

FORGE = """
from msgspec import Raw
forged = b'{"a":1}}\\n{"id":"2","type":"event","name":"admin","timestamp":"2026-01-01T00:00:00Z","data":{"n":0'
with tracker.context("request", {"user_id": 7}):
    tracker.emit("shop.order.paid", {"n": 0})
    tracker.emit("shop.order.paid", {"n": 1, "sent": Raw(b'{"a":\\n1}')})
    tracker.emit("shop.order.paid", {"n": 2, "sent": Raw(b'1}, "x": {"y": 1')})
    tracker.emit("shop.order.paid", {"n": 3, "sent": Raw(forged)})
    tracker.emit("shop.order.paid", {"n": 4, "sent": Raw(b'"\\n"')})
    tracker.emit("shop.order.paid", {"n": 5})
assert dispatcher.flush(60)
"""


def test_json_of_a_client_can_forge_neither_a_line_nor_a_field(site: Site) -> None:
    site.emitting(FORGE).succeed()
    site.worker()
    site.wait_until_delivered()
    site.assert_ledger_closes()
    lines = read_lines(site.log)
    assert [(line["name"], line["event"]["n"], line["context"].keys()) for line in lines] == [
        ("shop.order.paid", n, {"user_id", "event_id"}) for n in (0, 1, 5)
    ]
    assert lines[1]["event"]["sent"] == {"a": 1}
    for name in (LOG, "segment"):
        counts = site.counts(name)
        assert (counts.delivered, counts.dead_by_reason) == (3, {"undecodable": 3})


def test_a_damaged_batch_becomes_visible_and_the_others_are_delivered(site: Site) -> None:
    # By one relay, after all were emitted: three batches, however busy the machine is.
    site.environ["DISPATCHER_DESTINATIONS__TRACKING_LOG__BATCH_EVENTS"] = "10"
    code = "for n in range(30): tracker.emit('shop.order.paid', {'n': n})"
    site.emitting(code, DISPATCHER_RELAY__MODE="external").succeed()
    relayed = site.processes.run("relay", "--once")
    assert relayed.returncode == 0, relayed.stderr
    with site.redis.client() as client:
        first, second, _ = client.zrange(keys.SINCE.of(LOG), 0, -1)
        key = keys.BATCH.of(LOG, first.decode())
        payload = bytearray(client.hget(key, "packed"))
        payload[-1] ^= 1
        client.hset(key, "packed", bytes(payload))
        client.hdel(keys.BATCH.of(LOG, second.decode()), "packed", "n")
    worker = site.worker()
    wait_for(lambda: site.counts(LOG).waiting == 0, what=lambda: f"nothing to wait, but {site.counts(LOG)}")
    counts = site.counts(LOG)
    assert (counts.delivered, counts.dead_by_reason) == (10, {"damaged": 20})
    assert "is damaged in Redis" in counts.last_error
    assert sorted(tally(site.log)) == list(range(20, 30))
    site.assert_ledger_closes()
    assert "is damaged in Redis" in worker.output
    listed = site.processes.run("dead", "list", LOG)
    assert listed.returncode == 0, listed.stderr
    assert "damaged" in listed.stdout
    dropped = site.processes.run("dead", "drop", LOG, "--reason", "damaged", "--yes")
    assert dropped.returncode == 0, dropped.stderr
    assert (site.counts(LOG).dead, site.counts(LOG).filtered) == (0, 20)


def test_the_bell_rings_for_the_destinations_behind_one_whose_keys_are_damaged(site: Site) -> None:
    code = "tracker.emit('shop.order.paid', {'n': 0})\nassert dispatcher.flush(60)"
    site.emitting(code).succeed()
    assert list(site.settings().destinations)[:2] == [LOG, "segment"]
    with site.redis.client() as client:
        # The bell's script compares this with a number, and fails.
        client.hset(keys.BREAKER.of(LOG), "until", "soon")
        # The first doorbell is lost, so the batch waits for the bell.
        client.delete("segment")
        worker = site.worker("-Q", "segment")
        wait_for(lambda: site.counts("segment").delivered == 1, what=lambda: worker.output)
        worker.wait_for_output(f"the bell cannot ring for {LOG}")
        client.delete(keys.BREAKER.of(LOG))
    site.worker("-Q", LOG, "-n", "log@%h")
    site.wait_until_delivered()
    site.assert_ledger_closes()
