"""A person is taken out of Iceberg tables: out of rows, history and files, also when that is interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog

from dispatcher.exports.pseudonyms import Pseudonyms
from dispatcher.forgetting.change import Deletion
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.place import Found
from dispatcher.forgetting.places.iceberg import IcebergTables
from dispatcher.forgetting.pseudonymisation import Pseudonymisation
from tests.integration.test_export_iceberg import NAME, numbers, properties, run, table
from tests.support.edx_logs import make_lines, write

PERSON = Person(user_ids=("7",), usernames=("user7", "Zoë"), emails=("zoe@example.org",))


def make_table(tmp_path: Path) -> int:
    """A table of 600 events and one that names the person in another's payload. Returns how many name the person."""
    lines = make_lines(600, days=3)
    other = {
        "event": json.dumps({"user": "Zoë"}),
        "context": {"user_id": 5, "n": 600},
        "event_type": "enrolled",
        "time": "2026-02-01T20:00:00+00:00",
        "event_source": "browser",
        "username": "staff",
    }
    lines.append(json.dumps(other).encode())
    run(tmp_path, [write(tmp_path / "1.log", lines)])
    return sum(b'"user_id": 7,' in line or b'"user7"' in line for line in lines) + 1


def places(tmp_path: Path) -> IcebergTables:
    return IcebergTables(tmp_path / "one")


def files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "warehouse").rglob("*") if path.is_file()]


def take_out(tmp_path: Path) -> list[Found]:
    return list(places(tmp_path).forget(PERSON, Deletion(), lambda *_: None))


def left(found: Sequence[Found]) -> list[str]:
    return [one.left for one in found if one.left]


def assert_gone(tmp_path: Path, named: int, *, rows: int | None = None) -> None:
    kept = 601 - named if rows is None else rows
    found = list(places(tmp_path).look(PERSON, lambda *_: None))
    assert sum(one.events for one in found) == 0
    assert sum(one.of for one in found) == kept
    assert len(numbers(tmp_path)) == kept
    assert len(table(tmp_path).snapshots()) == 1
    # Not in any file, whoever names it: Parquet's pages are compressed, so each is read.
    tables = [pq.read_table(path) for path in files(tmp_path) if path.suffix == ".parquet"]
    found_rows = [row for one in tables for row in one.to_pylist()]
    assert len(found_rows) == kept
    assert not any(
        row["username"] == "user7" or row["user_id"] == "7" or "Zo" in (row["event"] or "") for row in found_rows
    )
    assert not any(b"user7" in path.read_bytes() for path in files(tmp_path) if path.suffix == ".avro")


def test_a_look_counts_by_day_and_changes_nothing(tmp_path: Path) -> None:
    named = make_table(tmp_path)
    before = files(tmp_path)
    found = list(places(tmp_path).look(PERSON, lambda *_: None))

    assert [one.where for one in found] == [f"{NAME} 2026-01-30", f"{NAME} 2026-01-31", f"{NAME} 2026-02-01"]
    assert (sum(one.events for one in found), sum(one.of for one in found)) == (named, 601)
    assert files(tmp_path) == before


def test_rows_history_and_files_are_gone(tmp_path: Path) -> None:
    named = make_table(tmp_path)
    found = take_out(tmp_path)

    assert sum(one.events for one in found) == named
    assert left(found) == []
    assert_gone(tmp_path, named)
    assert left(take_out(tmp_path)) == []
    assert_gone(tmp_path, named)


def test_what_a_killed_export_left_in_the_warehouse_goes_too(tmp_path: Path) -> None:
    named = make_table(tmp_path)
    [orphan, *_] = (tmp_path / "warehouse").rglob("*.parquet")
    unnamed = orphan.with_name(f"{'0' * 32}.parquet")
    unnamed.write_bytes(orphan.read_bytes())

    # A writer may be about to commit it.
    [why] = left(take_out(tmp_path))
    assert why == "1 files that no snapshot names are younger than a day: run this again tomorrow"
    past = (datetime.now(UTC) - timedelta(hours=2)).timestamp()
    os.utime(unnamed, (past, past))
    assert left(take_out(tmp_path)) == []
    assert_gone(tmp_path, named)


def test_a_tag_that_keeps_rows_is_named(tmp_path: Path) -> None:
    make_table(tmp_path)
    found = table(tmp_path)
    snapshot = found.current_snapshot()
    assert snapshot is not None
    found.manage_snapshots().create_tag(snapshot.snapshot_id, "published").commit()

    assert left(take_out(tmp_path)) == [
        "tag published keeps older rows: delete it with your engine, and run this again"
    ]


_KILLED = """
import os, signal, sys
from pathlib import Path
from dispatcher.exports.iceberg import removal
from tests.integration.test_forget_iceberg import take_out

delete, deleted = removal._delete, []

def killed(table, location):
    deleted.append(location)
    if len(deleted) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    delete(table, location)

removal._delete = killed
take_out(Path(sys.argv[1]))
"""


def test_a_killed_removal_goes_on(tmp_path: Path) -> None:
    named = make_table(tmp_path)
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL

    assert left(take_out(tmp_path)) == []
    assert_gone(tmp_path, named)


def test_rows_stay_under_pseudonyms_and_nothing_else_is_left_of_them(tmp_path: Path) -> None:
    named = make_table(tmp_path)
    pseudonyms = Pseudonyms(bytes(32))
    done = list(places(tmp_path).forget(PERSON, Pseudonymisation(PERSON, pseudonyms), lambda *_: None))
    assert left(done) == []
    assert_gone(tmp_path, named, rows=601)
    rows = table(tmp_path).scan().to_arrow().to_pylist()
    own = [row["username"] for row in rows if row["user_id"] == pseudonyms.name("7")]
    assert own
    assert not any("user" in name for name in own)


def test_a_table_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    make_table(tmp_path)
    load_catalog("test", **properties(tmp_path)).drop_table(NAME)
    [found] = places(tmp_path).look(PERSON, lambda *_: None)
    assert "Table does not exist" in found.left


def test_where_a_table_is_is_for_its_owner_only(tmp_path: Path) -> None:
    make_table(tmp_path)
    [kept] = (tmp_path / "one").glob("*/iceberg.json")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_forget_finds_the_tables_of_this_host(tmp_path: Path) -> None:
    log = write(tmp_path / "1.log", make_lines(600, days=3))
    given = properties(tmp_path)
    environ = {**os.environ, "DISPATCHER_STATE_DIRECTORY": str(tmp_path / "state")}
    dispatcher = [sys.executable, "-m", "dispatcher"]
    words = ["--catalog", "test", "--uri", given["uri"], "--warehouse", given["warehouse"], "--table", NAME]
    subprocess.run([*dispatcher, "export", "iceberg", "--from", str(log), *words], env=environ, check=True)
    person = ["--user", "7", "--username", "user7", "--without-redis", "--max-share", "0.1"]
    done = subprocess.run([*dispatcher, "forget", *person, "--do"], env=environ, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    left_over = len(numbers(tmp_path))
    assert left_over < 600

    # Nothing comes back with the log.
    export = [*dispatcher, "export", "iceberg", "--from", str(log), "--again", *words]
    again = subprocess.run(export, env=environ, capture_output=True, text=True, check=True)
    assert " 0  events added" in again.stdout
    assert len(numbers(tmp_path)) == left_over
