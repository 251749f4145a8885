"""Failures around what is read back: receipts that cannot be written, and a forget and exports that are killed."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.parquet as pq

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.find.search import find_events
from dispatcher.receipts.block import KEY_BYTES, key_of
from dispatcher.receipts.reader import read_blocks
from tests.faults.case import Cases
from tests.faults.cases.kills import kill_a_worker
from tests.faults.count import SEGMENT
from tests.faults.disk import SmallDisk
from tests.faults.expectation import Expectation
from tests.faults.numbering import LOG_ONLY
from tests.faults.places import log_files, read_log
from tests.faults.sink import slow
from tests.faults.stage import Stage
from tests.support.search_of_bytes import places_with_ada
from tests.support.waiting import PATIENCE, wait_for

analyst = Cases()

_ROTATION = {
    "DISPATCHER_DESTINATIONS__TRACKING_LOG__ROTATE_BYTES": "150000",
    "DISPATCHER_DESTINATIONS__TRACKING_LOG__ROTATE_COMPRESS": "true",
}
# Events with the numbers of those that only the log gets.
_EMIT_ADA = f"""
for n in range(3, 4 * int(sys.argv[2]), 4):
    with tracker.context("request", {{"user_id": 4200042, "username": "ada_1815"}}):
        tracker.emit({LOG_ONLY!r}, {{"k": f"ada.{{sys.argv[1]}}.{{n}}"}})
    time.sleep(0.005)
"""
_FORGET = ("forget", "--user", "4200042", "--username", "ada_1815", "--max-share", "1", "--do")
# An export's: whole; without a log that was rotated away meanwhile; ended by that. The next one goes on.
_ENDINGS = {0, 1, 5}
# How many events without a receipt are asked for.
_SAMPLE = 20


@analyst.add("the disk under the receipts is full for 3 s: find says delivered of nothing else")
def disk_full_under_receipts(stage: Stage) -> None:
    disk = stage.enter(SmallDisk(stage.directory / "receipts-disk"))
    stage.environ["DISPATCHER_RECEIPTS__DIRECTORY"] = str(disk.directory / "receipts")
    worker = stage.workers.start()
    stage.load(2)
    disk.fill(leave=1000 if disk.is_mounted else 0, processes=[worker])
    stage.during("the disk is full", 3)
    disk.free()
    stage.go_on(1)
    missing = _check_receipts(stage)
    stage.notes.append(f"{disk.kind}, {missing:,} events without a receipt")
    sizes = [path.stat().st_size for path in (disk.directory / "receipts").iterdir()]
    if not missing or len(sizes) > 10:
        stage.problems.append(f"{missing} events have no receipt, and there are {len(sizes)} files: {sizes}")
    if "receipts are not written to" not in stage.output():
        stage.problems.append("the worker does not say that it writes no receipts")


@analyst.add("kill -9 of workers while they write receipts: find says the truth", Expectation(repeats=True))
def receipts_of_killed_workers(stage: Stage) -> None:
    stage.sink.behave(slow(0.03))
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    stage.load(2)
    stage.strike("kill -9", lambda: kill_a_worker(stage), times=6, pause=(0.3, 2))
    stage.end_load()
    stage.wait_until_arrived("everything arrives", 90)
    missing = _check_receipts(stage)
    # Each was written before its delivery was recorded.
    if missing:
        stage.problems.append(f"{missing} delivered events have no receipt")


def _check_receipts(stage: Stage) -> int:
    """Hold receipts, and what find says, against what the sink took. Returns how many deliveries have none."""
    _, before = stage.sink.counts()
    settings = stage.site.settings()
    blocks, problems = read_blocks(settings.receipts_directory)
    stage.problems += problems
    delivered = {
        block.keys[at : at + KEY_BYTES]
        for block in blocks
        if block.destination == SEGMENT and block.fate == "delivered"
        for at in range(0, len(block.keys), KEY_BYTES)
    }
    _, taken = stage.sink.counts()
    invented = delivered - {key_of(one) for one in taken}
    if invented:
        stage.problems.append(f"{len(invented)} receipts are of events that the sink has not taken")
    missing = [one for one in before if key_of(one) not in delivered]
    pool = RedisPool(settings.store, timeout_seconds=30)
    for event in find_events(settings, pool, missing[:_SAMPLE]) if missing else []:
        states = {place["state"] for place in event["places"] if place["destination"] == SEGMENT}
        if "delivered" in states:
            stage.problems.append(f"find says delivered of {event['id']}, which has no receipt")
    pool.close()
    return len(missing)


@analyst.add(
    "forget is killed again and again while a site runs and the log rotates: nothing is left, nothing else is lost",
    # Lines that were delivered are taken out of the log.
    Expectation(exact=False, repeats=True),
)
def kill_forget(stage: Stage) -> None:
    stage.environ.update(_ROTATION)
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    stage.load(2, rate=150)
    first = stage.site.emitting(_EMIT_ADA, "1", "400")
    processes = stage.site.processes
    wait_for(lambda: "ada.1.3" in read_log(stage.site.log)[0], PATIENCE, what="the person to have a line")
    second = stage.site.emitting(_EMIT_ADA, "2", "400")

    def strike() -> None:
        child = processes.dispatcher(*_FORGET)
        stage.go_on(1, 12)
        child.kill()

    stage.strike("kill -9", strike, times=6, pause=(0.1, 0.5))
    for emitting in (first, second):
        emitting.succeed()
    stage.end_load()
    stage.wait_until_arrived("everything arrives", 90)
    processes.dispatcher(*_FORGET).succeed(PATIENCE)
    left = places_with_ada(stage.site)
    if left:
        stage.problems.append(f"the person is left in {left[:3]}")
    stage.notes.append(f"{len(log_files(stage.site.log))} files of the log")


@analyst.add(
    "exports to Parquet are killed while the log rotates and workers are killed: each line is a row, once",
    Expectation(repeats=True),
)
def kill_export(stage: Stage) -> None:
    # Whatever is in its directory is a log.
    (stage.directory / "logs").mkdir()
    stage.log_to(stage.directory / "logs" / "tracking.log")
    stage.environ.update(_ROTATION)
    stage.workers.start("-n", "one@%h")
    stage.workers.start("-n", "two@%h")
    stage.load(2, rate=100)
    lake = stage.directory / "lake"
    export = ("export", "parquet", "--from", str(stage.site.log.parent), "--to", str(lake))

    def strike() -> None:
        child = stage.site.processes.dispatcher(*export)
        stage.go_on(0.5, 8)
        if stage.chance.random() < 0.5:
            child.kill()
        elif child.wait(PATIENCE) not in _ENDINGS:
            stage.problems.append(child.output[-400:])
        stage.workers.kill_one()

    stage.strike("kill -9", strike, times=6, pause=(0.1, 1))
    stage.end_load()
    stage.wait_until_arrived("everything arrives", 90)
    stage.site.processes.dispatcher(*export).succeed(PATIENCE)
    rows = pq.read_table(lake, columns=["event"], partitioning=None).column("event").to_pylist()
    found = Counter(json.loads(row)["k"] for row in rows)
    lines, _ = read_log(stage.site.log)
    if found != lines:
        stage.problems.append(
            f"{len((lines - found).keys())} lines have no row, and {len((found - lines).keys())} have too many"
        )
    stage.notes.append(f"{len(log_files(stage.site.log))} files of the log, {len(rows):,} rows")
