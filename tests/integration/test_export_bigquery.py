"""``dispatcher export bigquery``: files that a load job takes, and a script that loads each day once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from dispatcher.exports.warehouse.bigquery_files import bigquery_files, schema_json
from dispatcher.exports.warehouse.day_writing import DayWriting
from dispatcher.exports.warehouse.days import find_days
from dispatcher.exports.warehouse.manifest import WarehouseManifest
from tests.support.parquet_events import export_lines, line

LINES = [
    *(line(number) for number in range(20)),
    *(line(number, day="2026-01-31", event=json.dumps({"currentTime": number / 4})) for number in range(8)),
    line(50, day="2026-01-31", event="a=1&b=2", context={"user_id": "not a number"}),
]
TYPES = {"STRING": "VARCHAR", "INTEGER": "BIGINT", "FLOAT": "DOUBLE", "BOOLEAN": "BOOLEAN", "TIMESTAMP": "TIMESTAMPTZ"}
# A stand-in for bq: a table is a directory, a partition a file. It refuses an id that a job had, as BigQuery does.
BQ = """#!{python}
import gzip, json, os, pathlib, shutil, sys
root = pathlib.Path(os.environ["BQ_ROOT"])
(root / "jobs").mkdir(exist_ok=True)
command = sys.argv[1]
flags = [word for word in sys.argv[2:] if word.startswith("--")]
words = [word for word in sys.argv[2:] if not word.startswith("--")]
with (root / "commands").open("a") as log:
    print(command, *words, file=log)
if command == "show":
    sys.exit(not (root / words[0]).exists())
if command == "mk":
    assert "--time_partitioning_field=time" in flags
    (root / words[0]).mkdir()
    shutil.copy(words[1], root / words[0] / "schema")
if command == "rm":
    table, day = words[0].split("$")
    (root / table / day).unlink()
if command == "wait":
    sys.exit((root / "jobs" / words[0]).read_text() != "done")
if command == "load":
    job = root / "jobs" / next(f for f in flags if f.startswith("--job_id=")).partition("=")[2]
    assert "--replace" in flags
    if job.exists():
        sys.exit("Already Exists: Job")
    fail = os.environ.get("BQ_FAIL", "")
    if fail == "job":
        job.write_text("failed")
        sys.exit(1)
    table, day = words[0].split("$")
    lines = gzip.decompress(pathlib.Path(words[1]).read_bytes()).splitlines()
    assert all(json.loads(line)["time"][:10].replace("-", "") == day for line in lines)
    (root / table / day).write_bytes(b"\\n".join(lines))
    job.write_text("done")
    sys.exit(fail == "answer")
"""


def write(parquet: Path, target: Path) -> WarehouseManifest:
    manifest = DayWriting(parquet, find_days(parquet), target, bigquery_files()).run(lambda done, total: None)
    assert manifest.difference == 0
    return manifest


def type_of(field: dict[str, object]) -> str:
    if field["type"] == "RECORD":
        inner = ", ".join(f'"{one["name"]}" {type_of(one)}' for one in field["fields"])  # type: ignore[attr-defined]
        return f"STRUCT({inner})"
    return TYPES[str(field["type"])]


def test_every_line_is_of_the_schema(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    manifest = write(parquet, tmp_path / "out")
    assert (manifest.written, [file.file for day in manifest.days for file in day.files]) == (
        29,
        ["tracking_log-20260130.json.gz", "tracking_log-20260131.json.gz"],
    )
    columns = {field["name"]: type_of(field) for field in json.loads((tmp_path / "out" / "schema.json").read_text())}
    # Fails for a value of another type.
    table = duckdb.read_json(f"{tmp_path}/out/*.json.gz", format="newline_delimited", columns=columns)
    counts = "count(*), count(DISTINCT mongoid), min(time AT TIME ZONE 'UTC')::VARCHAR, count(event_struct.currentTime)"
    assert table.aggregate(counts).fetchall() == [(29, 29, "2026-01-30 12:00:00", 8)]
    assert table.filter("event = 'a=1&b=2'").select("context.user_id, event_js").fetchall() == [(None, "false")]


def test_the_schema_has_the_fields_that_queries_of_simeon_name() -> None:
    fields = {field["name"]: field for field in json.loads(schema_json())}
    assert {"time", "username", "event_type", "course_id", "module_id", "event_struct", "event"} <= set(fields)
    inner = {field["name"]: field["type"] for field in fields["event_struct"]["fields"]}
    assert (len(fields), len(inner)) == (19, 98)
    assert (inner["currentTime"], inner["attempts"], inner["state"]) == ("FLOAT", "INTEGER", "RECORD")


def test_only_days_that_have_changed_are_written_again(tmp_path: Path) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    target = tmp_path / "out"
    write(parquet, target)
    before = {file.name: (file.stat().st_ino, file.read_bytes()) for file in target.glob("*.gz")}
    export_lines([line(99)], parquet, "late.log")
    write(parquet, target)
    after = {file.name: (file.stat().st_ino, file.read_bytes()) for file in target.glob("*.gz")}
    assert [name for name in after if after[name] != before[name]] == ["tracking_log-20260130.json.gz"]
    # A file that somebody has cut is written again, to the same bytes.
    cut = target / "tracking_log-20260131.json.gz"
    os.truncate(cut, 10)
    write(parquet, target)
    assert cut.read_bytes() == before[cut.name][1]
    shutil.rmtree(parquet / "date=2026-01-31")
    assert write(parquet, target).written == 21
    assert not cut.exists()


class Site:
    """A directory of load files, and the stand-in for bq."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "bigquery"
        self.root.mkdir()
        program = directory / "bin" / "bq"
        program.parent.mkdir()
        program.write_text(BQ.format(python=sys.executable))
        program.chmod(0o755)
        self.parquet = export_lines(LINES, directory / "events")
        self.target = directory / "out"
        self.environ = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "BQ_ROOT": str(self.root)}

    def load(self, **environ: str) -> subprocess.CompletedProcess[str]:
        write(self.parquet, self.target)
        (self.root / "commands").write_text("")
        return subprocess.run(
            ["sh", str(self.target / "load.sh"), "project:set"],
            env=self.environ | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def loads(self) -> int:
        return (self.root / "commands").read_text().count("load ")

    def counts(self) -> dict[str, int]:
        table = self.root / "project:set.tracking_log"
        return {path.name: path.read_bytes().count(b"\n") + 1 for path in sorted(table.glob("2*"))}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_the_script_loads_each_day_once(site: Site) -> None:
    assert site.load().returncode == 0
    assert (site.loads(), site.counts()) == (2, {"20260130": 20, "20260131": 9})
    assert site.load().returncode == 0
    assert site.loads() == 0
    # Changed, and then as it was: the id of the job is another one each time.
    export_lines([line(99)], site.parquet, "late.log")
    assert site.load().returncode == 0
    assert (site.loads(), site.counts()["20260130"]) == (1, 21)
    late = max((site.parquet / "date=2026-01-30").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    late.unlink()
    assert site.load().returncode == 0
    assert (site.loads(), site.counts()["20260130"]) == (1, 20)


def test_a_job_whose_answer_was_lost_is_not_repeated(site: Site) -> None:
    assert site.load(BQ_FAIL="answer").returncode == 0
    assert (site.loads(), site.counts()) == (2, {"20260130": 20, "20260131": 9})
    # Killed before it was noted: the same id finds the job again.
    (site.target / "_loaded").unlink()
    assert site.load().returncode == 0
    assert len(list((site.root / "jobs").iterdir())) == 2


def test_a_job_that_fails_is_tried_again_and_then_named(site: Site) -> None:
    done = site.load(BQ_FAIL="job")
    assert (done.returncode, site.loads(), site.counts()) == (1, 3, {})
    assert "tracking_log-20260130.json.gz could not be loaded" in done.stderr
    assert site.load().returncode == 0
    assert site.counts() == {"20260130": 20, "20260131": 9}


def test_days_that_are_gone_are_removed_if_asked(site: Site) -> None:
    site.load()
    shutil.rmtree(site.parquet / "date=2026-01-31")
    assert site.load().returncode == 0
    assert set(site.counts()) == {"20260130", "20260131"}
    assert site.load(PRUNE="1").returncode == 0
    assert site.counts() == {"20260130": 20}
    assert site.load(PRUNE="1").returncode == 0
    assert "rm" not in (site.root / "commands").read_text()
