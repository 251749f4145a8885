"""A whole site whose events flow to a bucket, ClickHouse and Kafka while workers are killed and connections are cut.

Each event has to be there once for the reader. ``FLOW_EVENTS=100000`` plays it at length, and prints what was counted.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from dispatcher.edx_log.packed_stream import open_packed
from tests.support.clickhouse_server import CHDB, HINT, ROOT, ClickHouseServer
from tests.support.faulty_proxy import FaultyProxy
from tests.support.kafka_brokers import KafkaBrokers
from tests.support.processes import Child
from tests.support.s3_server import BUCKET, CREDENTIALS, S3Server
from tests.support.site import Site
from tests.support.waiting import wait_for

_EVENTS: Final = int(os.environ.get("FLOW_EVENTS", "3000"))
_IS_SHORT: Final = _EVENTS < 10_000
_EMITTERS: Final = 1 if _IS_SHORT else 3
_WORKERS: Final = 1 if _IS_SHORT else 2
# Workers killed, each a little after it has begun to deliver.
_KILLS: Final = 2 if _IS_SHORT else 15
# How long brokers take for an answer.
_ANSWER_MS: Final = 200
# How often a request fails, of those that change something.
_FAULTS: Final = 0.2
_EMIT: Final = """
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    tracker.emit("shop.order.paid", {"n": number})
    if number % 100 == 0:
        time.sleep(0.02)
"""


class _Flow:
    """A site whose workers deliver to a destination, ``flow``."""

    def __init__(self, site: Site, **table: Any) -> None:
        self._site = site
        self._chance = Random(5)
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in table.items() if not isinstance(value, dict)]
        lines += [
            f"{key} = {{ {', '.join(f'{name} = {json.dumps(one)}' for name, one in value.items())} }}\n"
            for key, value in table.items()
            if isinstance(value, dict)
        ]
        site.allow(["shop.order.*"], more=f'[destinations.flow]\nevents = ["*"]\n{"".join(lines)}')
        for key, value in {
            "SEGMENT__ENABLED": "false",
            "FLOW__LEASE_SECONDS": "4",
            "FLOW__RETRY__FIRST_SECONDS": "0.1",
            "FLOW__RETRY__MAX_SECONDS": "0.5",
            "FLOW__BREAKER__FIRST_SECONDS": "0.1",
            "FLOW__BREAKER__MAX_SECONDS": "0.3",
        }.items():
            site.environ[f"DISPATCHER_DESTINATIONS__{key}"] = value
        self._workers: list[Child] = []
        self.killed = 0

    def play(self, strike: Callable[[int], object] = lambda _: None) -> None:
        """Emit all events while workers are killed, and wait until nothing waits any more.

        Args:
            strike: Called at each kill, with its number.
        """
        for number in range(_WORKERS):
            self._start(number)
        share = _EVENTS // _EMITTERS
        emitters = [
            self._site.emitting(_EMIT, str(number * share), str((number + 1) * share)) for number in range(_EMITTERS)
        ]
        for number in range(_KILLS):
            wait_for(lambda: self._site.counts("flow").claimed or self._is_over(emitters), what="a delivery")
            time.sleep(self._chance.uniform(0, 0.3))
            self._workers[number % _WORKERS].kill()
            self.killed += 1
            strike(number)
            self._start(number % _WORKERS)
        for emitter in emitters:
            emitter.succeed(timeout=120 + _EVENTS / 100)
        self._site.wait_until_delivered(timeout=120 + _EVENTS / 50)
        self._site.assert_ledger_closes()

    def check(self, what: str, numbers: Iterable[int], *, copies: int = 0) -> None:
        """Check that the reader has each event once."""
        counted = Counter(numbers)
        counts = self._site.counts("flow")
        twice = sum(counted.values()) - len(counted)
        print(
            f"\n{what}: {share_of(counts.delivered)} delivered, {len(counted):,} read, {twice:,} twice, "
            f"{copies:,} copies dropped by id, {self.killed} workers killed"
        )
        assert counts.delivered == share_of_all()
        assert set(counted) == set(range(share_of_all()))
        assert sum(counted.values()) == len(counted)

    def _start(self, place: int) -> None:
        worker = self._site.worker("-n", f"flow-{place}-{self.killed}@%h", "-c", "2")
        self._workers[place : place + 1] = [worker]

    def _is_over(self, emitters: list[Child]) -> bool:
        return not any(emitter.running for emitter in emitters) and self._site.counts("flow").waiting == 0


def share_of_all() -> int:
    """How many events are emitted: as many by each process."""
    return _EVENTS // _EMITTERS * _EMITTERS


def share_of(number: int) -> str:
    """A count beside what it should be."""
    return f"{number:,} of {share_of_all():,}"


@pytest.mark.slow
def test_each_event_is_in_one_object_of_a_bucket(site: Site, tmp_path: Path) -> None:
    with S3Server(tmp_path) as server, FaultyProxy(server.port, files={}, faults=_FAULTS, seed=7) as proxy:
        flow = _Flow(
            site,
            type="object_storage",
            url=f"s3://{BUCKET}/site",
            endpoint=proxy.url,
            region="us-east-1",
            credentials=CREDENTIALS,
            wait_seconds=0.5,
            timeout_seconds=2,
        )
        flow.play()
        objects = server.objects()
        lines = [line for path, body in objects.items() for line in _unpacked(body, tmp_path / "object")]
    made = dict(proxy.made)
    flow.check(f"object_storage, {len(objects)} objects, {made}", (json.loads(line)["event"]["n"] for line in lines))
    assert len(objects) < share_of_all() / 20
    # So few requests may all be spared by chance.
    assert made.get("cut behind", 0) > 0 or _IS_SHORT


@pytest.mark.slow
@pytest.mark.skipif(not CHDB.is_dir(), reason=HINT)
@pytest.mark.parametrize("shape", ["events"] if _IS_SHORT else ["events", "tracking"])
def test_each_event_is_one_row_of_clickhouse(shape: str, site: Site) -> None:
    with ClickHouseServer() as server:
        port = urlsplit(server.url).port
        assert port is not None
        if shape == "events":
            server.ask((ROOT / "tasks/destinations/clickhouse/events.sql").read_text())
        else:
            server.ask("CREATE TABLE events (time DateTime, message String) ENGINE = MergeTree ORDER BY time")
        with FaultyProxy(port, files={}, faults=_FAULTS, seed=7) as proxy:
            flow = _Flow(
                site, type="clickhouse", url=proxy.url, shape=shape, wait_seconds=0.5, timeout_seconds=2.5,
                connect_timeout_seconds=0.5,
            )  # fmt: skip
            flow.play()
        number = "data, 'n'" if shape == "events" else "message, 'event', 'n'"
        rows = server.ask(f"SELECT JSONExtractInt({number}) AS n FROM events")  # noqa: S608
        parts = server.ask("SELECT count() AS n FROM system.parts WHERE table = 'events'")[0]["n"]
    flow.check(f"clickhouse, {shape}, {parts} parts, {dict(proxy.made)}", (int(row["n"]) for row in rows))
    assert proxy.made["cut behind"] > 0 or _IS_SHORT


@pytest.mark.slow
def test_each_event_is_one_id_of_kafka(site: Site) -> None:
    with KafkaBrokers() as brokers:
        flow = _Flow(site, type="kafka", bootstrap_servers=brokers.bootstrap, topic=brokers.topic, timeout_seconds=3)

        def strike(number: int) -> None:
            brokers.set_down(is_down=True)
            brokers.set_down(is_down=False)
            brokers.fail_puts(6, 2)  # another broker has become the partition's leader

        # Most kills meet messages that brokers have, and have not answered yet.
        brokers.slow_down(_ANSWER_MS)
        flow.play(strike)
        brokers.slow_down(0)
        messages = brokers.messages()
        by_id = {dict(message.headers())["id"]: json.loads(message.value())["data"]["n"] for message in messages}
    # Idempotence ends with a producer: what a killed worker had sent is there again, with the same id.
    flow.check(f"kafka, {len(messages):,} messages", by_id.values(), copies=len(messages) - len(by_id))


def _unpacked(body: bytes, path: Path) -> list[bytes]:
    path.write_bytes(body)
    with path.open("rb") as raw:
        stream = open_packed(raw, body[:4])
        assert stream is not None
        return stream.readall().splitlines()
