"""docs/how-to/analysts.md: what the page shows works on a log, in the order of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "analysts.md"
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


def test_each_block_of_the_page_runs(tmp_path: Path) -> None:
    make_log(tmp_path / "tracking.log")
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    shown = []
    for language, code in BLOCK.findall(PAGE.read_text()):
        command = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{code}\n{done.stderr}"
        shown.append(done.stdout)

    exported, of_duckdb, of_polars, of_pandas = shown
    assert "20  events added, in 1 day" in exported
    assert re.search(r"course-v1:A\+B\+C\s*│\s*20 │\s*3 ", of_duckdb)
    assert re.search(r"problem-1\s*│\s*2\.0 ", of_duckdb)
    assert re.search(r"problem_check\s*┆ 20 ", of_polars)
    assert re.search(r"problem-0\s+10\n", of_pandas)
