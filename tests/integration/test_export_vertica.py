"""``dispatcher export vertica``: through Vertica's own client against a server of its protocol, and as files."""

from __future__ import annotations

import gc
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.errors import DispatcherError
from dispatcher.exports.warehouse.day_writing import DayWriting
from dispatcher.exports.warehouse.days import find_days
from dispatcher.exports.warehouse.manifest import WarehouseManifest
from dispatcher.exports.warehouse.vertica_files import vertica_files
from dispatcher.exports.warehouse.vertica_sql import VerticaTables
from tests.support.parquet_events import export_lines, line
from tests.support.vendors.vertica import PASSWORD, FakeVertica, fake_vertica
from tests.support.waiting import PATIENCE, wait_for

pytest.importorskip("vertica_python", reason="pip install vertica-python")
from dispatcher.exports.warehouse.vertica import VerticaLoad, VerticaPlan, VerticaServer

TABLES = VerticaTables("events", "event_records")
LINES = [
    *(line(number) for number in range(30)),
    *(line(number, day="2026-01-31") for number in range(12)),
]
DAYS = {"2026-01-30": 30, "2026-01-31": 12}


@pytest.fixture
def vertica() -> Iterator[FakeVertica]:
    with fake_vertica() as server:
        yield server


def load(parquet: Path, vertica: FakeVertica, *, password: str = PASSWORD, **plan: Any) -> WarehouseManifest:
    server = VerticaServer(
        host="127.0.0.1", port=vertica.port, database="edx", user="loader", password=password, tls="disable"
    )
    wanted = VerticaPlan(**{"tables": TABLES, "rules": "own", "raw_event_octets": 60_000, **plan})
    manifest = VerticaLoad(parquet, find_days(parquet), server, wanted, parquet / "_vertica" / "manifest.json").run(
        lambda done, total: None
    )
    assert manifest.difference == 0
    return manifest


def counts(vertica: FakeVertica) -> dict[str, int]:
    return {day: len(rows) for day, rows in sorted(vertica.target.items())}


def test_a_day_is_copied_committed_and_then_swapped(tmp_path: Path, vertica: FakeVertica) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    manifest = load(parquet, vertica)

    assert (manifest.rows, manifest.written, counts(vertica)) == (42, 42, DAYS)
    one_day = ["TRUNCATE", "COPY", "SELECT COUNT", "COMMIT", "SELECT SWAP", "TRUNCATE"]
    said = vertica.statements
    assert len(said) == 13
    assert all(one.startswith(start) for one, start in zip(said, ["SET TIME ZONE", *one_day, *one_day], strict=True))
    for copy in (said[2], said[8]):
        assert "FROM STDIN" in copy
        assert copy.endswith("ENFORCELENGTH ABORT ON ERROR NO COMMIT")
    assert "'2026-01-30', '2026-01-30', 'events.event_records'" in said[5]
    assert vertica.staging == []
    assert vertica.copied[0].count(b"\n") == 30
    # Bytes as the columns want them, with the text as it was.
    row = vertica.rows("2026-01-30")[3]
    raw = json.loads(row.pop("raw_event") or "")
    assert raw["event"]["text"] == "日本"
    assert row == {
        "timestamp": "2026-01-30 12:00:03.000003",
        "received_at": "2026-01-30 12:00:03.000003",
        "user_id": "3",
        "username": "üser3",
        "anonymous_id": None,
        "event_type": "problem_check",
        "course_id": "course-v1:Örg+Code+2026",
        "org_id": "Örg",
        "label": None,
        "category": None,
        "emitter_type": "server",
        "url": None,
        "referrer": None,
        "source": "tracking_prod",
        "input_file": str(tmp_path / "tracking.log"),
        "agent_type": None,
        "agent_device_name": None,
        "agent_os": None,
        "agent_browser": None,
        "agent_touch_capable": None,
        "date": "2026-01-30",
    }


def test_only_what_has_changed_is_loaded_again(tmp_path: Path, vertica: FakeVertica) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    load(parquet, vertica)
    vertica.statements.clear()
    load(parquet, vertica)
    assert vertica.statements == []

    export_lines([line(99, day="2026-01-31")], parquet, "late.log")
    load(parquet, vertica)
    assert counts(vertica) == {"2026-01-30": 30, "2026-01-31": 13}
    assert len(vertica.copied) == 3
    # With another table, or other rules, every day is.
    load(parquet, vertica, rules="edx")
    assert len(vertica.copied) == 5


def test_days_that_are_gone_are_emptied_if_asked(tmp_path: Path, vertica: FakeVertica) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    load(parquet, vertica)
    shutil.rmtree(parquet / "date=2026-01-31")
    assert load(parquet, vertica).written == 42
    assert counts(vertica) == DAYS
    assert load(parquet, vertica, prune=True).written == 30
    assert counts(vertica) == {"2026-01-30": 30}


def test_a_row_that_is_refused_leaves_the_day_as_it_was(tmp_path: Path, vertica: FakeVertica) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    load(parquet, vertica)
    export_lines([line(99, day="2026-01-31")], parquet, "late.log")
    vertica.refuse["COPY"] = ("22V04", "COPY: Input record 7 has been rejected")
    with pytest.raises(DispatcherError, match=r"Vertica refused 2026-01-31: .*Input record 7 has been rejected"):
        load(parquet, vertica)
    assert (counts(vertica), vertica.staging) == (DAYS, [])
    vertica.refuse.clear()
    load(parquet, vertica)
    assert counts(vertica)["2026-01-31"] == 13


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
@pytest.mark.parametrize("statement", ["COPY", "SELECT COUNT", "COMMIT", "SELECT SWAP", "TRUNCATE"])
def test_a_cut_connection_costs_nothing(tmp_path: Path, vertica: FakeVertica, cut: str, statement: str) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    load(parquet, vertica)
    export_lines([line(99, day="2026-01-31")], parquet, "late.log")
    setattr(vertica, cut, statement)
    with pytest.raises(DispatcherError):
        load(parquet, vertica)
    # The day as it was, or as it is now: never a part, never twice.
    assert counts(vertica) in (DAYS, DAYS | {"2026-01-31": 13})
    setattr(vertica, cut, "")
    load(parquet, vertica)
    assert counts(vertica) == DAYS | {"2026-01-31": 13}
    assert vertica.staging == []


_LOAD = """
import sys
from pathlib import Path
from tests.integration.test_export_vertica import load

class Port:
    port = int(sys.argv[2])

load(Path(sys.argv[1]), Port)
"""


def test_killed_between_copy_and_commit_the_table_is_as_it_was(
    tmp_path: Path, vertica: FakeVertica, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    load(parquet, vertica)
    export_lines([line(99, day="2026-01-31")], parquet, "late.log")
    answer, children = vertica._answer, []

    def kill_then_answer(stream: Any, session: Any, statement: str) -> None:
        if statement == "COMMIT":
            raise ConnectionError
        answer(stream, session, statement)
        if statement.startswith("SELECT COUNT"):
            children[0].send_signal(signal.SIGKILL)
            children[0].wait()

    monkeypatch.setattr(vertica, "_answer", kill_then_answer)
    children.append(
        subprocess.Popen(
            [sys.executable, "-c", _LOAD, str(parquet), str(vertica.port)],
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
    )
    wait_for(lambda: children[0].poll() is not None, PATIENCE)
    assert children[0].returncode == -signal.SIGKILL
    monkeypatch.setattr(vertica, "_answer", answer)
    assert (counts(vertica), vertica.staging) == (DAYS, [])
    load(parquet, vertica)
    assert counts(vertica) == DAYS | {"2026-01-31": 13}


# Whose client lets go of its socket without closing it where it is not let in.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_server_that_says_no_is_named_and_no_secret_is(tmp_path: Path, vertica: FakeVertica) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    with pytest.raises(DispatcherError, match="does not let loader in") as caught:
        load(parquet, vertica, password="wrong-word")
    assert "wrong-word" not in str(caught.value)
    vertica.refuse["TRUNCATE"] = ("42V01", 'Relation "event_records_staging" does not exist')
    with pytest.raises(DispatcherError, match="export vertica --ddl"):
        load(parquet, vertica)
    vertica.close()
    with pytest.raises(DispatcherError, match="does not let loader in"):
        load(parquet, vertica)
    del caught
    gc.collect()


def test_the_same_as_files_with_a_script(tmp_path: Path, vertica: FakeVertica) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    load(parquet, vertica)
    target = tmp_path / "files"

    def write() -> WarehouseManifest:
        form = vertica_files(TABLES, "own", 60_000)
        return DayWriting(parquet, find_days(parquet), target, form).run(lambda done, total: None)

    manifest = write()
    assert (manifest.written, manifest.difference) == (42, 0)
    files = sorted(target.glob("*.tsv.gz"))
    assert [gzip.decompress(file.read_bytes()) for file in files] == vertica.copied
    script = (target / "load.sql").read_text()
    assert script.count("COMMIT;\nSELECT SWAP_PARTITIONS_BETWEEN_TABLES") == 2
    assert f"FROM LOCAL '{files[0].name}' GZIP" in script
    ddl = (target / "ddl.sql").read_text()
    assert (
        "raw_event VARCHAR(60000),\n    date DATE NOT NULL,\n    created TIMESTAMP DEFAULT NOW()\n)\nPARTITION BY date"
        in ddl
    )
    before = {file.name: file.read_bytes() for file in files}
    (target / "_MANIFEST.json").unlink()
    write()
    assert {file.name: file.read_bytes() for file in files} == before
    # A day that is gone has no file any more, and the script does not load it.
    shutil.rmtree(parquet / "date=2026-01-31")
    write()
    assert [file.name for file in target.glob("*.tsv.gz")] == [files[0].name]
    assert "2026-01-31" not in (target / "load.sql").read_text()


def test_the_command_loads_and_says_what_is_missing(tmp_path: Path, vertica: FakeVertica) -> None:
    parquet = export_lines(LINES, tmp_path / "events")
    command = [sys.executable, "-m", "dispatcher", "export", "vertica", "--from", str(parquet), "--schema", "events"]
    command += ["--tls", "disable"]
    environ = os.environ | {
        "VSQL_HOST": "127.0.0.1",
        "VSQL_PORT": str(vertica.port),
        "VSQL_USER": "loader",
        "VSQL_PASSWORD": PASSWORD,
    }
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [" ".join(one.split()) for one in done.stdout.splitlines()] == [
        "42 rows of 2 days",
        "42 in events.event_records on 127.0.0.1",
    ]
    assert counts(vertica) == DAYS
    del environ["VSQL_USER"]
    wrong = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (wrong.returncode, "--user is missing" in wrong.stderr) == (2, True)
