"""Real workers write few objects for light traffic, which the exports read."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from tests.support.site import Site

_PROCESSES = 6


def test_light_traffic_becomes_one_object_that_an_export_reads(site: Site, tmp_path: Path) -> None:
    lake, tables = tmp_path / "lake", tmp_path / "tables"
    table = (
        f'[destinations.lake]\ntype = "object_storage"\nurl = "{lake.as_uri()}"\nwait_seconds = 2\npartition = "day"\n'
    )
    site.allow(["shop.order.*"], more=table)
    site.environ["DISPATCHER_DESTINATIONS__SEGMENT__ENABLED"] = "false"
    for _ in range(_PROCESSES):
        site.leave_behind(2)
    site.relay_once()
    worker = site.worker()
    site.wait_until_delivered()
    objects = [path for path in lake.rglob("*") if path.is_file()]
    # What was put in two windows may be claimed while the first one is over.
    assert 1 <= len(objects) <= 2, worker.output
    assert site.counts("lake").delivered == 2 * _PROCESSES
    site.assert_ledger_closes()
    done = site.processes.run("export", "parquet", "--from", str(lake), "--to", str(tables))
    assert done.returncode == 0, done.stderr
    assert sum(pq.read_metadata(path).num_rows for path in tables.rglob("*.parquet")) == 2 * _PROCESSES
