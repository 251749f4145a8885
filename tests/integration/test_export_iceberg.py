"""``dispatcher export iceberg``: each event once in a table, whoever writes at the same time, and whoever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import Table

from dispatcher.errors import DispatcherError
from dispatcher.exports.iceberg.address import TableAddress
from dispatcher.exports.iceberg.export import IcebergExport
from dispatcher.exports.iceberg.table import EventTable
from dispatcher.exports.manifest import Manifest
from dispatcher.exports.part_reading import Chosen
from dispatcher.forgetting.change import Deletion
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.places.iceberg import IcebergTables
from tests.support.bucket_server import BUCKET, BucketServer
from tests.support.edx_logs import make_lines, write

NAME = "analytics.events"


def properties(directory: Path) -> dict[str, str]:
    (directory / "warehouse").mkdir(exist_ok=True)
    return {
        "type": "sql",
        "uri": f"sqlite:///{directory}/catalog.db",
        "warehouse": f"file://{directory}/warehouse",
    }


def catalog(directory: Path) -> Catalog:
    return load_catalog("test", **properties(directory))


def table(directory: Path) -> Table:
    return catalog(directory).load_table(NAME)


def run(directory: Path, logs: Sequence[Path], *, writer: str = "one", **options: Any) -> Manifest:
    watch = options.pop("watch", lambda *_: None)
    export = IcebergExport(
        logs,
        TableAddress(table=NAME, catalog="test", properties={**properties(directory)}),
        lambda key: directory / writer / key,
        Chosen(),
        **{"processes": 1, "part_bytes": 100_000, **options},
    )
    manifest = export.run(watch)
    assert manifest.difference == 0
    return manifest


def numbers(directory: Path) -> Counter[int]:
    contexts = table(directory).scan(selected_fields=("context",)).to_arrow()["context"].to_pylist()
    return Counter(json.loads(context)["n"] for context in contexts)


def test_the_same_rows_as_in_parquet_stand_in_the_table(tmp_path: Path) -> None:
    lines = make_lines(900, days=3)
    manifest = run(tmp_path, [write(tmp_path / "1.log.gz", [*lines, b"garbage"])])

    assert (manifest.lines, manifest.added, manifest.broken) == (901, 900, {"no_object": 1})
    found = table(tmp_path)
    rows = {row["line_number"]: row for row in found.scan().to_arrow().to_pylist()}
    for number, line in enumerate(lines, 1):
        given, row = json.loads(line), rows[number]
        assert row["event"].encode() in line
        assert row["timestamp"].isoformat(timespec="microseconds") == given["time"]
        assert row["user_id"] == str(given["context"]["user_id"])
    days = found.inspect.partitions().to_pylist()
    assert {str(day["partition"]["timestamp_day"]): day["record_count"] for day in days} == {
        f"2026-01-{day}": 300 for day in (30, 31)
    } | {"2026-02-01": 300}
    assert len(found.snapshots()) == 3
    # Only the files of the day that is asked for are opened.
    assert len(list(found.scan(row_filter="timestamp >= '2026-02-01T00:00:00+00:00'").plan_files())) == 1
    # Columns are known by Iceberg's own ids, without a mapping of names, which not every engine reads.
    [file, *_] = sorted((tmp_path / "warehouse").rglob("*.parquet"))
    assert pyarrow.parquet.read_schema(file).field(0).metadata == {b"PARQUET:field_id": b"1"}
    assert duckdb.read_parquet(f"{tmp_path}/warehouse/**/*.parquet").count("*").fetchall() == [(900,)]


def test_a_day_exported_again_by_anyone_adds_nothing(tmp_path: Path) -> None:
    log = write(tmp_path / "1.log", make_lines(700))
    run(tmp_path, [log])
    assert run(tmp_path, [log]).lines == 0
    assert run(tmp_path, [log], again=True).duplicates == 700
    assert run(tmp_path, [log], writer="two").duplicates == 700

    write(log, make_lines(700) + make_lines(800, seed=9)[700:])
    run(tmp_path, [log], writer="two")
    assert numbers(tmp_path) == Counter(range(800))
    assert len(table(tmp_path).snapshots()) == 3


def test_two_writers_at_a_time_add_each_event_once(tmp_path: Path) -> None:
    log = write(tmp_path / "1.log", make_lines(2000, days=6))
    together = threading.Barrier(2)
    manifests = []

    def export(writer: str) -> None:
        def watch(what: str, done: int, total: int) -> None:
            # Each day at the same time: one of them loses the race for each commit.
            if what == "writing days":
                together.wait(60)

        manifests.append(run(tmp_path, [log], writer=writer, watch=watch))

    EventTable(catalog(tmp_path), NAME).load_or_make()
    threads = [threading.Thread(target=export, args=(writer,)) for writer in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(manifests) == 2
    assert numbers(tmp_path) == Counter(range(2000))
    assert sum(manifest.added for manifest in manifests) == 2000


_EXPORT = """
import os, signal, sys
from pathlib import Path
from dispatcher.exports.iceberg import days
from tests.integration.test_export_iceberg import run

commit, commits = days._commit, []

def killed(table, note):
    commits.append(note)
    if sys.argv[2] == "before" and len(commits) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    done = commit(table, note)
    if sys.argv[2] == "behind" and len(commits) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

days._commit = killed
run(Path(sys.argv[1]), [Path(sys.argv[1]) / "1.log"])
"""


@pytest.mark.parametrize("moment", ["before", "behind"])
@pytest.mark.parametrize("writer", ["one", "two"])
def test_a_killed_export_goes_on_here_and_elsewhere(tmp_path: Path, moment: str, writer: str) -> None:
    log = write(tmp_path / "1.log", make_lines(1200, days=6))
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    killed = subprocess.run([sys.executable, "-c", _EXPORT, str(tmp_path), moment], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(numbers(tmp_path)) == (400 if moment == "before" else 600)

    manifest = run(tmp_path, [log], writer=writer)
    assert numbers(tmp_path) == Counter(range(1200))
    if writer == "one" and moment == "behind":
        assert next(day for day in manifest.days if day.day == "2026-02-01").added == 200


def test_a_table_that_became_another_is_named(tmp_path: Path) -> None:
    log = write(tmp_path / "1.log", make_lines(300))

    def replace(what: str, done: int, total: int) -> None:
        if (what, done) == ("writing days", 1):
            catalog(tmp_path).drop_table(NAME)
            EventTable(catalog(tmp_path), NAME).load_or_make()

    with pytest.raises(DispatcherError, match=r"analytics\.events was replaced by another one"):
        run(tmp_path, [log], watch=replace)
    # It is another table, of which nothing was noted.
    run(tmp_path, [log])
    assert numbers(tmp_path) == Counter(range(300))


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    catalog(tmp_path).create_namespace("analytics")
    catalog(tmp_path).create_table(NAME, pyarrow.schema([("event_id", pyarrow.int64())]))
    with pytest.raises(DispatcherError, match="no column event_id of type string: name another"):
        run(tmp_path, [write(tmp_path / "1.log", make_lines(3))])


def test_a_catalog_that_fails_is_named_without_its_secrets(tmp_path: Path) -> None:
    log = write(tmp_path / "1.log", make_lines(3))
    command = [sys.executable, "-m", "dispatcher", "export", "iceberg", "--from", str(log), "--table", NAME]
    environ = {**os.environ, "DISPATCHER_STATE_DIRECTORY": str(tmp_path / "state")}
    wrong = ["--uri", "sqlite:////nowhere/of/it.db?password=secret"]
    done = subprocess.run([*command, *wrong], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert "look at its address" in done.stderr
    assert "secret" not in done.stderr


def test_the_command_makes_the_table_and_says_what_became_of_lines(tmp_path: Path) -> None:
    log = write(tmp_path / "1.log", [*make_lines(25), b"garbage"])
    given = properties(tmp_path)
    words = ["--catalog", "test", "--uri", given["uri"], "--warehouse", given["warehouse"], "--table", NAME]
    command = [sys.executable, "-m", "dispatcher", "export", "iceberg", "--from", str(log), *words]
    environ = {**os.environ, "DISPATCHER_STATE_DIRECTORY": str(tmp_path / "state")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "25  events added, in 2 days" in done.stdout
    assert list((tmp_path / "state").glob("exports/*/_manifests/*.json"))
    assert numbers(tmp_path) == Counter(range(25))
    assert date(2026, 1, 30) in [
        day["partition"]["timestamp_day"] for day in table(tmp_path).inspect.partitions().to_pylist()
    ]


def test_a_warehouse_may_be_a_bucket(tmp_path: Path) -> None:
    log = write(tmp_path / "1.log", make_lines(300))
    with BucketServer(tmp_path) as server:
        given = {
            **properties(tmp_path),
            "warehouse": f"s3://{BUCKET}/warehouse",
            "s3.endpoint": server.url,
            "s3.access-key-id": "key",
            "s3.secret-access-key": "secret",
            "s3.region": "us-east-1",
        }
        address = TableAddress(table=NAME, catalog="test", properties={**given})
        for _ in range(2):
            export = IcebergExport([log], address, lambda key: tmp_path / key, Chosen(), processes=1, again=True)
            export.run(lambda *_: None)
        assert load_catalog("test", **given).load_table(NAME).scan().count() == 300
        assert len([name for name in server.names() if name.endswith(".parquet")]) == 2

        [found, *_] = IcebergTables(tmp_path).forget(Person(user_ids=("7",)), Deletion(), lambda *_: None)
        assert found.left == ""
        assert load_catalog("test", **given).load_table(NAME).scan(row_filter="user_id = '7'").count() == 0
        assert len([name for name in server.names() if name.endswith(".parquet")]) == 2
