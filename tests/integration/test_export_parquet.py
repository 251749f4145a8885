"""``dispatcher export parquet``: each event once in files that analysts' tools read, whatever happens to the export."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.dataset
import pytest

from dispatcher.edx_log.render import renderer
from dispatcher.errors import DispatcherError
from dispatcher.event import Event, encode
from dispatcher.exports.log_parts import read_blocks, split_log
from dispatcher.exports.manifest import Manifest
from dispatcher.exports.parquet import ParquetExport
from dispatcher.exports.part_reading import Chosen
from dispatcher.exports.target import held
from tests.support.edx_logs import make_lines, numbers, write
from tests.support.site import Site
from tests.support.waiting import PATIENCE, wait_for

TUTOR = b"2026-01-31 10:00:00,123 INFO 7 [tracking] [user 42] [ip 10.0.0.1] logger.py:41 - "


def run(logs: Sequence[Path], to: Path, chosen: Chosen | None = None, **options: Any) -> Manifest:
    done: list[tuple[str, int, int]] = []
    process = ParquetExport(logs, to, chosen or Chosen(), **{"processes": 1, "part_bytes": 50_000, **options})
    manifest = process.run(lambda *said: done.append(said))
    assert manifest.difference == 0, manifest
    assert all(so_far <= total for _, so_far, total in done)
    return manifest


def digests(directory: Path) -> dict[str, str]:
    files = sorted(directory.glob("date=*/*.parquet"))
    return {str(path.relative_to(directory)): sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_tool_reads_the_same_rows(tmp_path: Path) -> None:
    lines = make_lines(500)
    manifest = run([write(tmp_path / "tracking.log", lines)], tmp_path / "out")

    assert (manifest.lines, manifest.added, manifest.duplicates, manifest.broken) == (500, 500, 0, {})
    table = pyarrow.dataset.dataset(tmp_path / "out", partitioning="hive").to_table()
    assert sorted(table["line_number"].to_pylist()) == list(range(1, 501))
    by_number = {row["line_number"]: row for row in table.to_pylist()}
    for number, line in enumerate(lines, 1):
        given, row = json.loads(line), by_number[number]
        assert row["event"].encode() in line
        assert row["context"].encode() in line
        assert row["timestamp"].isoformat(timespec="microseconds") == given["time"]
        assert (row["date"], row["user_id"]) == (given["time"][:10], str(given["context"]["user_id"]))
    assert numbers(tmp_path / "out") == Counter(range(500))
    for file in (tmp_path / "out").glob("date=*/*.parquet"):
        rows = duckdb.read_parquet(str(file)).select("course_id", "timestamp").fetchall()
        assert rows == sorted(rows)
    listed = {file.file: file.sha256 for day in manifest.days for file in day.files}
    assert listed == digests(tmp_path / "out")


def test_logs_of_any_packing_and_prefix_are_read(tmp_path: Path) -> None:
    lines = make_lines(600)
    logs = [
        write(tmp_path / "tracking.log-1.gz", lines[:200]),
        write(tmp_path / "tracking.log-2.zst", [TUTOR + line for line in lines[200:400]]),
        write(tmp_path / "tracking.log", lines[400:], end=b"\n"),
        # The same events from another host's collector, packed again.
        write(tmp_path / "copy.gz", lines[100:300]),
    ]
    manifest = run(logs, tmp_path / "out")

    assert (manifest.lines, manifest.added, manifest.duplicates) == (800, 600, 200)
    assert numbers(tmp_path / "out") == Counter(range(600))


def test_our_own_formats_are_read_alike(tmp_path: Path) -> None:
    own_id = "0190a1b2-0000-7000-8000-00000000000a"
    event = Event(
        id=own_id,
        name="shop.paid",
        timestamp=datetime.now(UTC),
        data={"price": 3},
        context={"user_id": 42, "username": "ada", "ip": "10.0.0.1"},
    )
    rows = []
    for line_format in ("edx", "tutor", "event"):
        line = renderer(line_format, ids=True)(encode(event))
        run([write(tmp_path / f"{line_format}.log", [line])], tmp_path / line_format)
        [row] = pyarrow.dataset.dataset(tmp_path / line_format).to_table().to_pylist()
        rows.append({key: row[key] for key in ("event_id", "timestamp", "user_id", "username", "event_type", "ip")})

    assert rows[0]["event_id"] == event.id
    assert rows == [rows[0]] * 3


BROKEN = {
    "no_object": [b"garbage", b"5", b"\0\0\0"],
    "not_json": [b'{"event_type": "cut', b'{"a": 1}{"b": 2}'],
    "not_utf8": [b'{"event_type": "x", "username": "\xff"}'],
    "no_event_type": [b"{}"],
    "no_time": [b'{"event_type": "x"}', b'{"event_type": "x", "time": null}'],
    "bad_time": [b'{"event_type": "x", "time": "yesterday"}', b'{"event_type": "x", "time": 1769860800}'],
    "too_long": [b'{"event_type": "' + b"x" * (17 << 20) + b'"}'],
}


def test_what_is_broken_is_counted_and_kept_aside(tmp_path: Path) -> None:
    good = make_lines(40)
    bad = [(problem, line) for problem, lines in BROKEN.items() for line in lines]
    lines = good[:20]
    for problem_line, good_line in zip(bad, good[20:], strict=False):
        lines += [problem_line[1], b"", good_line]
    lines += good[20 + len(bad) :]
    for name in ("tracking.log", "tracking.log.gz"):
        log = write(tmp_path / name, lines, end=b'\n{"event_type": "being written')
        out = tmp_path / f"{name}-out"
        manifest = run([log], out)

        assert manifest.broken == {problem: len(lines) for problem, lines in sorted(BROKEN.items())}
        assert manifest.left_out == {"empty": len(bad), "unfinished": 1}
        assert numbers(out) == Counter(range(40))
        kept = [
            json.loads(line) for line in (tmp_path / f"{name}-out" / manifest.broken_lines).read_bytes().splitlines()
        ]
        assert [(one["reason"], lines[one["line"] - 1][:30]) for one in kept] == [(p, line[:30]) for p, line in bad]
        assert {one["file"] for one in kept} == {str(log)}


def test_a_damaged_log_gives_what_can_be_read(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.log.gz", make_lines(3000))
    damaged = tmp_path / "cut.log.gz"
    damaged.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    manifest = run([damaged], tmp_path / "out")
    assert 0 < manifest.added < 3000
    assert manifest.inputs[0].ended
    # It was not read to its end, so that it is read again once it is mended.
    assert run([damaged], tmp_path / "out").duplicates == manifest.added
    run([whole], tmp_path / "out")
    assert numbers(tmp_path / "out") == Counter(range(3000))


def test_a_log_is_exported_as_it_grows_and_rotates(tmp_path: Path) -> None:
    lines, out = make_lines(900), tmp_path / "out"
    log = write(tmp_path / "tracking.log", lines[:300], end=b"\n" + lines[300][:50])
    assert run([log], out).left_out == {"unfinished": 1}
    assert numbers(out) == Counter(range(300))

    write(log, lines[:600])
    run([log], out)
    assert numbers(out) == Counter(range(600))
    assert run([log], out).lines == 0, "it was read again"

    log.rename(tmp_path / "tracking.log.1")
    write(log, lines[600:])
    manifest = run([tmp_path / "tracking.log.1", log], out)
    assert (manifest.added, manifest.duplicates) == (300, 0)
    assert manifest.earlier_bytes == (tmp_path / "tracking.log.1").stat().st_size
    assert numbers(out) == Counter(range(900))


def test_an_export_done_again_changes_nothing(tmp_path: Path) -> None:
    log = write(tmp_path / "tracking.log", make_lines(700))
    run([log], tmp_path / "out")
    before = digests(tmp_path / "out")

    manifest = run([log], tmp_path / "out", again=True)
    assert (manifest.lines, manifest.added, manifest.duplicates) == (700, 0, 700)
    assert digests(tmp_path / "out") == before
    run([log], tmp_path / "elsewhere")
    assert digests(tmp_path / "elsewhere") == before
    assert not [path for path in (tmp_path / "out" / "_work").iterdir() if path.name != "lock"]


def test_what_is_chosen_comes_to_what_is_there(tmp_path: Path) -> None:
    log = write(tmp_path / "tracking.log", make_lines(400))
    noon = datetime(2026, 1, 30, 12, tzinfo=UTC)

    assert run([log], tmp_path / "out", Chosen(until=noon)).left_out == {"not_chosen": 300}
    assert numbers(tmp_path / "out") == Counter(range(100))
    run([log], tmp_path / "out", Chosen(since=noon))
    run([log], tmp_path / "out")
    assert numbers(tmp_path / "out") == Counter(range(400))


_EXPORT = """
import sys
from pathlib import Path
from dispatcher.exports.parquet import ParquetExport
from dispatcher.exports.part_reading import Chosen

if __name__ == "__main__":
    process = ParquetExport([Path(sys.argv[1])], Path(sys.argv[2]), Chosen(), processes=2, part_bytes=400_000)
    process.run(lambda *said: print(*said, flush=True))
"""


@pytest.mark.parametrize("moment", ["reading", "writing days"])
def test_an_export_that_is_killed_goes_on(tmp_path: Path, moment: str) -> None:
    log = write(tmp_path / "tracking.log", make_lines(20_000, days=12))
    run([log], tmp_path / "whole", part_bytes=400_000, processes=2)
    script = tmp_path / "export.py"
    script.write_text(_EXPORT)
    out = tmp_path / "out"

    child = subprocess.Popen(
        [sys.executable, str(script), str(log), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert child.stdout is not None
    if moment == "reading":
        wait_for(lambda: list(out.glob("_work/*/*-*/result.json")), PATIENCE)
    else:
        assert any(line.startswith("writing days 3 ") for line in child.stdout)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()

    manifest = run([log], out, part_bytes=400_000)
    assert digests(out) == digests(tmp_path / "whole")
    assert (manifest.lines, manifest.added, manifest.duplicates) == (20_000, 20_000, 0)


def test_two_exports_at_a_time_are_refused(tmp_path: Path) -> None:
    log = write(tmp_path / "tracking.log", make_lines(10))
    (tmp_path / "out").mkdir()
    with held(tmp_path / "out"), pytest.raises(DispatcherError, match="another export writes"):
        run([log], tmp_path / "out")


def test_a_log_that_became_another_is_named(tmp_path: Path) -> None:
    log = write(tmp_path / "tracking.log", make_lines(10))
    [part] = split_log(log)
    write(log, make_lines(10, seed=4))

    with pytest.raises(DispatcherError, match=r"tracking\.log is another log"):
        list(read_blocks(part))


def test_a_full_disk_is_named_and_what_is_done_is_kept(tmp_path: Path) -> None:
    log = write(tmp_path / "tracking.log", make_lines(10))
    (tmp_path / "out").mkdir()
    # What cannot be made stands for what does not fit.
    (tmp_path / "out" / "_exported").write_text("")

    with pytest.raises(DispatcherError, match="run it again"):
        run([log], tmp_path / "out")
    (tmp_path / "out" / "_exported").unlink()
    assert run([log], tmp_path / "out").added == 10
    assert numbers(tmp_path / "out") == Counter(range(10))


@pytest.mark.parametrize("part_bytes", [1, 100, 1_000, 10_000, 1_000_000])
def test_parts_have_each_line_once_with_its_number(tmp_path: Path, part_bytes: int) -> None:
    lines = [*make_lines(30), b"", b"x" * 3000, *make_lines(5)]
    for end in (b"\n", b"", b"\n\n"):
        log = write(tmp_path / "tracking.log", lines, end=end)
        found: dict[int, bytes] = {}
        for part in split_log(log, part_bytes):
            for block in read_blocks(part):
                for number, line in enumerate(block.lines, block.first_number):
                    assert number not in found
                    assert line is not None
                    found[number] = line
        wanted = [*lines, b""] if end == b"\n\n" else lines
        assert [found[number] for number in sorted(found)] == wanted
        assert sorted(found) == list(range(1, len(wanted) + 1))


def test_the_command_says_what_became_of_each_line(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    write(logs / "tracking.log", [*make_lines(25), b"garbage"])
    command = [
        sys.executable,
        "-m",
        "dispatcher",
        "export",
        "parquet",
        "--from",
        str(logs),
        "--to",
        str(tmp_path / "o"),
    ]

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [" ".join(line.split()) for line in done.stdout.splitlines()][:3] == [
        "26 lines of 1 log",
        "25 events added, in 2 days",
        "1 broken, no_object: it holds no JSON object",
    ]
    again = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["sums"]["lines"] == 0
    missing = subprocess.run([*command[:6], str(tmp_path / "none"), *command[7:]], capture_output=True, check=False)
    assert missing.returncode == 2


def test_the_log_is_held_against_the_ledger(site: Site, tmp_path: Path) -> None:
    site.worker()
    site.emitting("for number in range(20): tracker.emit('shop.paid', {'number': number})").succeed()
    site.wait_until_delivered()
    export = ["export", "parquet", "--from", str(site.log), "--to", str(tmp_path / "out")]
    sentence = "the ledger has 20 events as delivered to this tracking log: "

    assert sentence + "as many as these logs have" in site.processes.run(*export).stdout
    # Also where nothing is left to read.
    assert sentence + "as many as these logs have" in site.processes.run(*export).stdout
    kept = site.log.read_bytes().splitlines(keepends=True)
    site.log.write_bytes(b"".join(kept[:15]))
    fewer = site.processes.run(*export)
    assert fewer.returncode == 0
    assert sentence + "5 more than these logs have. Add rotated logs, and those of other hosts" in fewer.stdout
    asked = json.loads(site.processes.run(*export, "--json").stdout)
    assert asked["ledger"] == {"delivered": 20, "events": 15}


def test_pseudonyms_hide_people_and_tell_them_apart(tmp_path: Path) -> None:
    log = write(tmp_path / "a.log", [*make_lines(300), b'{"username": "user7", "event_type": "cut'])
    to, key = tmp_path / "out", tmp_path / "key"
    command = ("export", "parquet", "--from", str(log), "--to", str(to), "--processes", "1")
    environ = {**os.environ, "DISPATCHER_STATE_DIRECTORY": str(tmp_path / "state")}

    def export(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dispatcher", *command, *more],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )

    done = export("--pseudonyms", str(key))
    assert done.returncode == 0, done.stderr
    rows = duckdb.read_parquet(f"{to}/date=*/*.parquet").project("username, user_id, course_id, context").fetchall()
    lines = [json.loads(line) for line in make_lines(300)]
    assert Counter(Counter(row[0] for row in rows).values()) == Counter(
        Counter(line["username"] for line in lines).values()
    )
    assert Counter(row[2] for row in rows) == Counter(line["context"]["course_id"] for line in lines)
    assert {row[1] for row in rows} == {json.loads(row[3])["user_id"] for row in rows}
    for name in to.rglob("*"):
        assert not name.is_file() or b"user7" not in name.read_bytes(), name
    assert "user7" not in str(rows)
    for more in ((), ("--pseudonyms", str(tmp_path / "other"))):
        refused = export(*more)
        assert refused.returncode != 0
        assert "pseudonyms" in refused.stderr, refused.stderr
    clear = tmp_path / "clear"
    run([log], clear)
    command = (*command[:4], "--to", str(clear))
    assert "was written without pseudonyms" in export("--pseudonyms", str(key)).stderr
