"""A process in which a test has frozen the time: its relay delivers as ever, and its events have the frozen time."""

from __future__ import annotations

import pytest

from tests.support.site import Site
from tests.support.tracking_lines import read_lines

HEAD = """
import os
from freezegun import freeze_time
def report(*words):
    print("report:", *words)
"""
IMPORT = "import dispatcher\nfrom dispatcher import tracker\n"
IMPORT_FROZEN = "with freeze_time('1999-01-01'):\n    import dispatcher\n    from dispatcher import tracker\n"
EMIT = """
with freeze_time("2001-02-03T04:05:06Z"):
    for n in range(20):
        tracker.emit("shop.order.paid", {"n": n})
    report(dispatcher.flush(60))
    tracker.emit("shop.order.paid", {"n": 20})
"""


@pytest.mark.parametrize("first", [IMPORT, IMPORT_FROZEN], ids=["imported before", "imported in frozen time"])
def test_a_relay_goes_on_in_frozen_time(site: Site, first: str) -> None:
    child = site.processes.python(HEAD + first + EMIT)
    assert child.report() == ["True"]
    site.worker()
    site.wait_until_delivered()

    lines = read_lines(site.log)
    # Two batches: the one that was flushed, and the one of the process's end. Either may be written first.
    assert sorted(line["event"]["n"] for line in lines) == list(range(21))
    assert {line["time"] for line in lines} == {"2001-02-03T04:05:06+00:00"}
    site.assert_ledger_closes()
