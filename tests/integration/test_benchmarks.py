"""The benchmarks run. Their times depend on the machine, so no test asserts anything about them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_compares_every_emitter_and_writes_its_results_as_json(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = [sys.executable, "-m", "tests.benchmarks", "emit", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text())
    assert results["run"]["quick"] is True
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for row in results["rows"]:
        assert row["measurement"] in ("idle", "paced")
        assert row["metrics"] or row["note"], row
        by_subject.setdefault(row["subject"], []).append(row)
    assert set(by_subject) == {
        "ours",
        "floor",
        "segment_analytics",
        "event_tracking_log",
        "event_tracking_async",
        "celery_delay",
    }
    idle = by_subject["ours"][0]
    assert {"p50_us", "p99_us", "p999_us", "max_us", "calls"} <= set(idle["metrics"])
    assert idle["metrics"]["calls"] > 0
    assert {"name", "kind", "wanted", "unit", "measured", "reached", "margin"} == set(results["targets"][0])
    assert "A call, one after another" in done.stdout


def test_help_explains_how_to_run_the_benchmarks() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--help"]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    for option in ("--quick", "--rounds", "--beside", "--json", "--markdown", "crowd"):
        assert option in done.stdout
