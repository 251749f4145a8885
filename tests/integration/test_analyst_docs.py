"""The pages for analysts: what each shows works on a log, in the order of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import obstore
import pytest

from tests.support.bucket_server import BucketServer, variables

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "how-to"
BLOCK = re.compile(r"^```(sh|py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def make_log(path: Path) -> None:
    lines = [
        json.dumps(
            {
                "name": "problem_check",
                "context": {"user_id": n % 3, "course_id": "course-v1:A+B+C", "org_id": "A"},
                "username": "ada",
                "event": {"problem_id": f"problem-{n % 2}", "grade": n % 4},
                "time": f"2026-01-31T12:00:{n:02}.000001+00:00",
                "event_type": "problem_check",
                "event_source": "server",
            }
        )
        for n in range(20)
    ]
    path.write_text("\n".join([*lines, ""]))


def run_blocks(page: str, directory: Path, **variables: str) -> list[str]:
    """Run the commands and the Python of a page in order. Returns what each printed."""
    make_log(directory / "tracking.log")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **variables}
    shown = []
    for language, code in BLOCK.findall((PAGES / page).read_text()):
        command = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        shown.append(done.stdout)
    return shown


def test_from_the_log_to_duckdb_pandas_and_tableau(tmp_path: Path) -> None:
    pytest.importorskip("tableauhyperapi", reason="pip install tableauhyperapi")
    exported, of_duckdb, of_polars, of_pandas, of_tableau, renamed = run_blocks("analysts.md", tmp_path)
    assert "20  events added, in 1 day" in exported
    assert re.search(r"course-v1:A\+B\+C\s*│\s*20 │\s*3 ", of_duckdb)
    assert re.search(r"problem-1\s*│\s*2\.0 ", of_duckdb)
    assert re.search(r"problem_check\s*┆ 20 ", of_polars)
    assert re.search(r"problem-0\s+10\n", of_pandas)
    assert "20  in events.hyper" in of_tableau
    assert "20  events added, in 1 day" in renamed


def test_from_the_log_to_tableau(tmp_path: Path) -> None:
    pytest.importorskip("tableauhyperapi", reason="pip install tableauhyperapi")
    exported, chosen, read_back = run_blocks("tableau.md", tmp_path)
    assert "20  in events.hyper" in exported
    assert "20  in courses.hyper" in chosen
    assert "['course-v1:A+B+C', 20]" in read_back


def test_from_a_bucket_to_a_bucket(tmp_path: Path) -> None:
    make_log(tmp_path / "tracking.log")
    with BucketServer(tmp_path) as server:
        obstore.put(server.store("tracking", bucket="logs"), "tracking.log", tmp_path / "tracking.log")
        state = str(tmp_path / "state")
        [exported] = run_blocks("buckets.md", tmp_path, DISPATCHER_STATE_DIRECTORY=state, **variables(server.port))
    assert "20  events added, in 1 day" in exported


def test_from_the_log_to_an_iceberg_table(tmp_path: Path) -> None:
    exported, read_back = run_blocks("iceberg.md", tmp_path, DISPATCHER_STATE_DIRECTORY=str(tmp_path / "state"))
    assert "20  events added, in 1 day" in exported
    assert re.search(r"problem_check\s*│\s*20 ", read_back)


@pytest.mark.parametrize("page", ["vertica.md", "bigquery.md"])
def test_from_the_log_to_files_for_a_database(tmp_path: Path, page: str) -> None:
    shown = run_blocks(page, tmp_path)
    assert f"20  in {page.removesuffix('.md')}" in shown[-1]
