"""Real workers that deliver several batches at a time to the Segment stub."""

from __future__ import annotations

import json
import socket

from tests.support.site import Site
from tests.support.waiting import wait_for

SEGMENT = "segment"
BATCHES = 12


def leave_batches(site: Site, events: int = 1) -> None:
    """Put ``BATCHES`` batches, as so many processes with an event or two do."""
    for _ in range(BATCHES):
        site.leave_behind(events)
    site.relay_once()
    assert site.counts(SEGMENT).batches == BATCHES


def test_what_many_processes_left_goes_in_one_request_and_the_task_says_so(site: Site) -> None:
    leave_batches(site)
    worker = site.worker()
    site.wait_until_delivered()
    assert site.segment_stub.counts() == {"requests": 1, "messages": BATCHES, "unique": BATCHES}
    wait_for(lambda: f"{BATCHES} batches: {BATCHES} delivered, 0 dead" in worker.output)
    lines = [json.loads(line) for line in site.log.read_text().splitlines()]
    assert len(lines) == BATCHES
    site.assert_ledger_closes()


def test_a_worker_killed_in_the_middle_of_several_batches_loses_and_doubles_nothing(site: Site) -> None:
    leave_batches(site, 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"http://127.0.0.1:{silent.getsockname()[1]}"
        worker = site.worker(DISPATCHER_DESTINATIONS__SEGMENT__HOST=host)
        wait_for(lambda: site.counts(SEGMENT).claimed == 2 * BATCHES)
        worker.kill()
    site.worker()
    site.wait_until_delivered()
    # Each batch has lost its lease, and came alone after that.
    assert site.segment_stub.counts() == {
        "requests": BATCHES,
        "messages": 2 * BATCHES,
        "unique": 2 * BATCHES,
    }
    assert site.counts(SEGMENT).delivered == 2 * BATCHES
    assert len(site.log.read_text().splitlines()) == 2 * BATCHES
    site.assert_ledger_closes()
