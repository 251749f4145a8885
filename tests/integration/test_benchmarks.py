"""The benchmarks run. Their times depend on the machine, so no test asserts anything about them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks until they end."""
    command = [sys.executable, "-m", "tests.benchmarks", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)


def test_a_quick_run_compares_every_emitter_and_writes_its_results_as_json(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = run("emit", "--quick", "--json", str(file))
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
        "event_tracking_dropin",
        "celery_delay",
    }
    idle = by_subject["ours"][0]
    assert {"p50_us", "p99_us", "p999_us", "max_us", "calls"} <= set(idle["metrics"])
    assert idle["metrics"]["calls"] > 0
    assert {"name", "kind", "wanted", "unit", "measured", "reached", "margin"} == set(results["targets"][0])
    assert "A call, one after another" in done.stdout


def test_a_request_is_compared_with_one_without_the_middleware(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = run("request", "--quick", "--subject", "ours", "--subject", "event_tracking_log", "--json", str(file))
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert {(row["subject"], row["case"], row["note"]) for row in rows} == {
        (subject, case, "") for subject in ("ours", "event_tracking_log") for case in ("Django", "Starlette")
    }
    assert all({"request_us", "bare_us", "added_us", "dropped"} == set(row["metrics"]) for row in rows)


def test_what_no_time_is_left_for_is_named_and_the_rest_is_written(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    chosen = ["segment", "idle", "--subject", "ours", "--subject", "floor"]
    done = run(*chosen, "--quick", "--minutes", "0.1", "--rounds", "4", "--json", str(file))
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert rows
    assert all(row["metrics"] or "it took more than" in row["note"] for row in rows)
    measured = {(row["measurement"], row["subject"], row["case"]) for row in rows}
    assert len(measured) + done.stderr.count("not measured, for lack of time: ") == 4
    assert "not measured, for lack of time: idle: " in done.stderr


def test_a_crowd_has_every_event_at_segment_once(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command = ["crowd", "--quick", "--subject", "ours", "--subject", "segment_analytics", "--json", str(file)]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    rows = {row["subject"]: row for row in json.loads(file.read_text())["rows"]}
    assert set(rows) == {"ours", "segment_analytics"}
    for row in rows.values():
        assert row["note"] == ""
        assert (row["metrics"]["late"], row["metrics"]["doubled"], row["metrics"]["dropped"]) == (0, 0, 0)
        assert row["metrics"]["messages_per_request"] >= 1
        assert 0 < row["metrics"]["wait_p50_s"] <= row["metrics"]["longest_wait_s"]
        assert len(row["rounds"][0]["longest_wait_by_second"]) >= 2


def test_earlier_results_fill_in_the_marked_tables_of_a_page_alone(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    row = {"measurement": "idle", "case": "one after another", "note": "", "rounds": []}
    ours = row | {"subject": "ours", "metrics": {"p50_us": 4.0, "calls": 10}}
    peer = row | {"subject": "segment_analytics", "metrics": {"p50_us": 30.0, "calls": 10}}
    run_of = {
        "at": "2026-01-02T03:04:05",
        "commit": "abc",
        "cores": 2,
        "python": "3.11",
        "python_built": "",
        "packages": {},
    }
    results.write_text(json.dumps({"run": run_of, "rows": [ours, peer]}))
    page.write_text("before\n<!-- bench idle -->\nold\n<!-- end -->\n<!-- bench rest -->\nkept\n<!-- end -->\nafter\n")
    done = run("--from", str(results), "--markdown", str(page))
    assert done.returncode == 0, done.stderr
    assert page.read_text() == (
        "before\n<!-- bench idle -->\n\n"
        "| what | case | p50 µs | times ours |\n| --- | --- | --- | --- |\n"
        "| dispatcher | one after another | 4 |  |\n"
        "| segment-analytics-python, track | one after another | 30 | 7.5 |\n\n"
        "<!-- end -->\n<!-- bench rest -->\nkept\n<!-- end -->\nafter\n"
    )


def test_a_checkout_without_an_environment_is_refused_with_what_to_do(tmp_path: Path) -> None:
    done = run("idle", "--quick", "--beside", str(tmp_path))
    assert done.returncode == 1
    assert f"{tmp_path} has no .venv: run `make venv` there first" in done.stderr


def test_help_explains_how_to_run_the_benchmarks() -> None:
    done = run("--help")
    for option in ("--quick", "--rounds", "--beside", "--json", "--markdown", "crowd"):
        assert option in done.stdout
