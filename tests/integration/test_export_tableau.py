"""``dispatcher export tableau``: what Tableau's engine reads back is what DuckDB reads in the Parquet files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dispatcher.errors import DispatcherError
from dispatcher.exports.event_rows import SCHEMA
from dispatcher.exports.target import held_file
from dispatcher.exports.warehouse.days import find_days
from dispatcher.process import system_calls
from tests.support.parquet_events import export_lines, line
from tests.support.waiting import PATIENCE, wait_for

hyper = pytest.importorskip("tableauhyperapi", reason="pip install tableauhyperapi")
from dispatcher.exports.warehouse.tableau import TableauExtract, TableauManifest  # noqa: E402 - the extra

TIMES = ("timestamp", "received_at")
LINES = [
    *(line(number) for number in range(40)),
    *(line(number, day="2026-01-31", event=json.dumps({"label": 'O\'Neil \\ "x"\n日本'})) for number in range(25)),
    line(1, day="2026-02-01", context=None, username="", event="", page="https://example.com/ü?a=1&b='2'"),
    line(2, day="2026-02-01", context={"received_at": "2026-02-01T23:59:59.999999+02:00", "user_id": None}),
]


def run(parquet: Path, target: Path, columns: tuple[str, ...] = (), until: str = "") -> TableauManifest:
    said: list[tuple[int, int]] = []
    manifest = TableauExtract(parquet, find_days(parquet, until=until), target, columns).run(
        lambda *what: said.append(what)
    )
    assert manifest.difference == 0
    assert said == sorted(said)
    return manifest


_readers: list[Any] = []


@pytest.fixture(scope="module", autouse=True)
def reader() -> Iterator[None]:
    """One engine that reads, beside those of the exports."""
    parameters = {"log_config": ""}
    with hyper.HyperProcess(hyper.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, parameters=parameters) as process:
        _readers.append(process)
        yield
        _readers.clear()


def query(target: Path, sql: str) -> list[list[Any]]:
    with hyper.Connection(_readers[0].endpoint, target) as connection:
        return connection.execute_list_query(sql)


def plain(value: Any) -> Any:
    return value.to_datetime() if isinstance(value, hyper.Timestamp) else value


def rows_of_duckdb(parquet: Path) -> list[tuple[str, ...]]:
    # As Tableau has them: in UTC, without a zone.
    chosen = ", ".join(f"{name} AT TIME ZONE 'UTC'" if name in TIMES else f'"{name}"' for name in SCHEMA.names)
    return sorted(tuple(map(str, row)) for row in events(parquet).select(chosen).fetchall())


def events(parquet: Path) -> duckdb.DuckDBPyRelation:
    return duckdb.read_parquet(f"{parquet}/date=*/*.parquet")


def rows_of_tableau(target: Path) -> list[tuple[str, ...]]:
    found = query(target, 'SELECT * FROM "Extract"."Extract"')
    return sorted(tuple(str(plain(value)) for value in row) for row in found)


def leftovers(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()} - {"extract.hyper", "extract.hyper.json", ".extract.hyper.lock"}


def test_the_extract_has_the_rows_of_the_files(tmp_path: Path) -> None:
    # A name that SQL has to be told with care.
    parquet = export_lines(LINES, tmp_path / "it's events")
    target = tmp_path / "out" / "extract.hyper"
    manifest = run(parquet, target)

    assert (manifest.rows, manifest.written, len(manifest.days)) == (67, 67, 3)
    rows = rows_of_tableau(target)
    assert rows == rows_of_duckdb(parquet)
    assert "2026-02-01 21:59:59.999999" in {row[2] for row in rows}
    counts = 'SELECT username, count(*), min("timestamp"), count(user_id)'
    by_user = f'{counts} FROM "Extract"."Extract" GROUP BY 1 ORDER BY 1'
    chosen = "username, count(*), min(timestamp AT TIME ZONE 'UTC'), count(user_id)"
    of_duckdb = events(parquet).aggregate(chosen, "username").order("username NULLS LAST").fetchall()
    assert [tuple(map(plain, row)) for row in query(target, by_user)] == of_duckdb
    assert leftovers(target.parent) == set()


def test_what_is_new_is_added_and_what_has_gone_is_gone(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    target = tmp_path / "extract.hyper"
    run(parquet, target, until="2026-02-01")
    assert len(rows_of_tableau(target)) == 65
    run(parquet, target)
    assert rows_of_tableau(target) == rows_of_duckdb(parquet)
    before = target.stat()
    run(parquet, target)
    assert target.stat().st_mtime_ns == before.st_mtime_ns, "nothing was new"

    export_lines([line(100)], parquet, "late.log")
    run(parquet, target)
    assert rows_of_tableau(target) == rows_of_duckdb(parquet)
    assert b"O'Neil" in target.read_bytes()
    # As after a forget: the day is gone, and nothing of it may be left in the file.
    shutil.rmtree(parquet / "date=2026-01-31")
    manifest = run(parquet, target)
    assert (manifest.written, b"O'Neil" in target.read_bytes()) == (43, False)
    assert rows_of_tableau(target) == rows_of_duckdb(parquet)


def test_columns_can_be_chosen(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    target = tmp_path / "extract.hyper"
    run(parquet, target)
    run(parquet, target, ("course_id", "timestamp"))
    found = {tuple(map(plain, row)) for row in query(target, 'SELECT * FROM "Extract"."Extract"')}
    assert ("course-v1:Örg+Code+2026", datetime(2026, 1, 30, 12, 0, 3, 3)) in found
    with pytest.raises(DispatcherError, match="the column grade is unknown"):
        run(parquet, target, ("grade",))


def test_an_extract_that_somebody_changed_is_made_anew(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    target = tmp_path / "extract.hyper"
    run(parquet, target)
    target.write_bytes(b"another file")
    run(parquet, target)
    assert rows_of_tableau(target) == rows_of_duckdb(parquet)
    target.with_name("extract.hyper.json").write_text("{")
    with pytest.raises(DispatcherError, match=r"extract\.hyper\.json is not the manifest"):
        run(parquet, target)


def test_a_damaged_file_leaves_the_extract_as_it_was(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    target = tmp_path / "extract.hyper"
    run(parquet, target, until="2026-01-31")
    before = target.read_bytes()
    [file] = (parquet / "date=2026-02-01").iterdir()
    content = bytearray(file.read_bytes())
    content[4:200] = bytes(196)  # its pages, not what says how long they are
    file.write_bytes(content)
    with pytest.raises(DispatcherError, match=r"the export has ended: .* is as it was"):
        run(parquet, target)
    assert target.read_bytes() == before
    file.write_bytes(b"PAR1 or not")
    with pytest.raises(DispatcherError, match="is not a file of dispatcher export parquet"):
        run(parquet, target)
    assert target.read_bytes() == before
    assert leftovers(tmp_path) == {"events", "tracking.log"}


def test_two_exports_to_one_extract_are_refused(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    target = tmp_path / "extract.hyper"
    lock = tmp_path / ".extract.hyper.lock"
    with held_file(lock, target), pytest.raises(DispatcherError, match="another export writes"):
        run(parquet, target)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DispatcherError, match="dispatcher export parquet"):
        run(tmp_path / "empty", target)


_EXPORT = """
import sys, time
from pathlib import Path
from dispatcher.exports.warehouse.days import find_days
from dispatcher.exports.warehouse.tableau import TableauExtract

def watch(done, total):
    print(done, flush=True)
    if done:
        sys.stdin.readline()

source = Path(sys.argv[1])
TableauExtract(source, find_days(source), Path(sys.argv[2])).run(watch)
"""


def test_a_killed_export_leaves_neither_half_nor_engine(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    target = tmp_path / "extract.hyper"
    run(parquet, target, until="2026-01-31")
    target.with_name("extract.hyper.json").unlink()
    before = target.read_bytes()
    child = subprocess.Popen(
        [sys.executable, "-c", _EXPORT, str(parquet), str(target)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "IN_THE_TEST": str(tmp_path)},
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert [child.stdout.readline(), child.stdout.readline()] == [b"0\n", b"40\n"]
    engines = set(system_calls.pids_with("IN_THE_TEST", str(tmp_path))) - {child.pid}
    assert engines
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    child.stdin.close()

    assert target.read_bytes() == before
    wait_for(lambda: not system_calls.pids_with("IN_THE_TEST", str(tmp_path)), PATIENCE)
    run(parquet, target)
    assert rows_of_tableau(target) == rows_of_duckdb(parquet)
    assert leftovers(tmp_path) == {"events", "tracking.log"}


def test_the_command_says_what_the_extract_has(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    command = [sys.executable, "-m", "dispatcher", "export", "tableau", "--from", str(parquet), "--to"]
    target = tmp_path / "here" / "extract.hyper"
    done = subprocess.run([*command, str(target)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [" ".join(one.split()) for one in done.stdout.splitlines()] == ["67 rows of 3 days", f"67 in {target}"]
    again = subprocess.run(
        [*command, str(target), "--since", "2026-02-01", "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(again.stdout)["sums"] == {
        "rows": 2,
        "written": 2,
        "dropped": {},
        "shortened": {},
        "difference": 0,
    }
    assert len(rows_of_tableau(target)) == 2
    wrong = subprocess.run([*command, str(tmp_path / "x.csv")], capture_output=True, text=True, check=False)
    assert (wrong.returncode, ".hyper" in wrong.stderr) == (2, True)
    assert leftovers(tmp_path) == {"events", "tracking.log", "here"}
