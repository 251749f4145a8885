"""``dispatcher retention``: whole files and days go by the times of their events, and a legal hold wins."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dispatcher.cli import main
from dispatcher.store import dead_letter_files
from dispatcher.store.dead_letter import DeadLetter

TODAY = datetime.now(UTC).date()
OLD, YOUNG = TODAY - timedelta(days=100), TODAY - timedelta(days=5)


def line(day: date) -> bytes:
    return b'{"time": "%sT10:00:00+00:00", "event_type": "x"}\n' % day.isoformat().encode()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Logs, exports and dead letters, old and young."""
    monkeypatch.setenv("DISPATCHER_STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("DISPATCHER_FORGETTING__DIRECTORIES", json.dumps([str(tmp_path / "exports")]))
    monkeypatch.setenv("DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH", str(tmp_path / "tracking.log"))
    for name in ("LOG_DAYS", "EXPORT_DAYS", "DEAD_LETTER_DAYS"):
        monkeypatch.setenv(f"DISPATCHER_RETENTION__{name}", "30")
    content = {
        "tracking.log": line(OLD),
        "tracking.log-1.gz": gzip.compress(line(OLD) * 3),
        "tracking.log-2": line(OLD) + line(YOUNG),
        "tracking.log-3": b"nothing\n",
        "tracking.log-4.gz": gzip.compress(line(OLD))[:20],
        f"exports/date={OLD}/a.parquet": b"PAR1",
        f"exports/date={YOUNG}/a.parquet": b"PAR1",
    }
    for name, text in content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    letters = dead_letter_files.directory_of(tmp_path / "state")
    at = int(datetime(OLD.year, OLD.month, OLD.day, tzinfo=UTC).timestamp() * 1000)
    letter = DeadLetter(destination="x", id=f"{at}-0", reason="r", error="", attempts=1, payload=b"{}")
    dead = dead_letter_files.write(letters, "x", [letter])
    return {"letter": dead, "day": tmp_path / f"exports/date={OLD}"} | {name: tmp_path / name for name in content}


def run(*arguments: str) -> tuple[int, dict[str, Any]]:
    answer = CliRunner().invoke(main, ["retention", "--json", *arguments], catch_exceptions=False)
    return answer.exit_code, {one["path"]: one for one in json.loads(answer.stdout)}


def test_only_what_is_old_in_all_of_its_lines_goes(files: dict[str, Path]) -> None:
    _, looked = run()
    assert all(path.exists() for path in files.values())
    code, done = run("--do")
    assert looked == done
    gone = {name for name, path in files.items() if not path.exists()}
    assert gone == {"letter", "day", "tracking.log-1.gz", f"exports/date={OLD}/a.parquet"}
    # Nobody knows how old a log is without times, or that cannot be read.
    assert code == 1
    unknown = {Path(path).name for path, one in done.items() if one["left"].startswith("its age is unknown")}
    assert unknown == {"tracking.log-3", "tracking.log-4.gz"}


def test_a_legal_hold_wins(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_RETENTION__HOLDS__COURT__REASON", "case 7")
    monkeypatch.setenv("DISPATCHER_RETENTION__HOLDS__COURT__UNTIL", str(OLD + timedelta(days=1)))
    _, done = run("--do")
    assert all(path.exists() for path in files.values())
    assert "the legal hold court keeps it: case 7" in {one["left"] for one in done.values()}


def test_nothing_is_set_and_nothing_goes(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOG_DAYS", "EXPORT_DAYS", "DEAD_LETTER_DAYS"):
        monkeypatch.delenv(f"DISPATCHER_RETENTION__{name}")
    assert run("--do") == (0, {})
    assert all(path.exists() for path in files.values())
