"""Logs in a bucket, and exports to one: what is whole there stays whole, whatever the server answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from dispatcher.errors import DispatcherError
from dispatcher.exports.bucket.bucket import Bucket, BucketError
from dispatcher.exports.bucket.lock import BucketLock
from dispatcher.exports.bucket.log_object import find_objects
from dispatcher.exports.bucket.target import BucketTarget
from dispatcher.exports.log_parts import read_blocks, split_log
from dispatcher.exports.manifest import Manifest
from dispatcher.exports.parquet import ParquetExport
from dispatcher.exports.part_reading import Chosen
from dispatcher.forgetting.change import Deletion
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.places.bucket_exports import BucketExports
from tests.support.bucket_server import BUCKET, BucketServer, troubled, variables
from tests.support.edx_logs import make_lines, numbers, write


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with BucketServer(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    for name, value in variables(server.port).items():
        monkeypatch.setenv(name, value)
    server.clear()
    yield server
    server.clear()


def bucket(prefix: str, **options: Any) -> Bucket:
    return Bucket(url=f"s3://{BUCKET}/{prefix}", **options)


def upload(s3: BucketServer, *paths: Path) -> None:
    for path in paths:
        obstore.put(s3.store("logs"), path.name, path)


def download(s3: BucketServer, prefix: str, to: Path) -> Path:
    store = s3.store(prefix)
    for name in s3.names(prefix):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(obstore.get(store, name).bytes())
    return to


def run(source: Bucket, to: Path | BucketTarget, **options: Any) -> Manifest:
    options = {"processes": 1, "part_bytes": 100_000, **options}
    manifest = ParquetExport(find_objects(source), to, Chosen(), **options).run(lambda *_: None)
    assert manifest.difference == 0
    return manifest


def test_logs_in_a_bucket_are_read_like_files(s3: BucketServer, tmp_path: Path) -> None:
    lines = make_lines(3000)
    files = [
        write(tmp_path / "1.log.gz", lines[:1000]),
        write(tmp_path / "2.log.zst", lines[1000:1500]),
        write(tmp_path / "3.log", lines[1500:]),
        write(tmp_path / "_hidden", [b"not a log"]),
    ]
    upload(s3, *files)
    manifest = run(bucket("logs"), tmp_path / "out", processes=2)

    assert (manifest.lines, manifest.added, manifest.broken) == (3000, 3000, {})
    assert numbers(tmp_path / "out") == Counter(range(3000))
    names = ["1.log.gz", "2.log.zst", "3.log"]
    assert [log.file for log in manifest.inputs] == [f"s3://{BUCKET}/logs/{name}" for name in names]
    assert len(split_log(find_objects(bucket("logs/3.log"))[0], 100_000)) > 3
    # What was read is known by its e-tag; an object that was replaced is another one.
    assert run(bucket("logs"), tmp_path / "out").lines == 0
    upload(s3, write(tmp_path / "1.log.gz", lines[:1000] + make_lines(5, seed=9)))
    assert run(bucket("logs"), tmp_path / "out").lines == 1005


def test_the_lines_of_an_object_have_the_numbers_of_its_file(s3: BucketServer, tmp_path: Path) -> None:
    lines = [*make_lines(30), b"", b"x" * 3000, *make_lines(5)]
    upload(s3, write(tmp_path / "1.log", lines))
    [log] = find_objects(bucket("logs"))
    for part_bytes in (100, 10_000, 1_000_000):
        found = {
            number: line
            for part in split_log(log, part_bytes)
            for block in read_blocks(part)
            for number, line in enumerate(block.lines, block.first_number)
        }
        assert [found[number] for number in sorted(found)] == lines


def test_an_export_to_a_bucket_is_as_one_to_a_directory(s3: BucketServer, tmp_path: Path) -> None:
    upload(s3, write(tmp_path / "1.log", [*make_lines(700), b"garbage"]))
    target = BucketTarget(bucket("out"), tmp_path / "state")
    manifest = run(bucket("logs"), target)
    run(bucket("logs"), tmp_path / "directory")

    downloaded = download(s3, "out", tmp_path / "downloaded")
    assert {file.file for day in manifest.days for file in day.files} == {
        name for name in s3.names("out") if name.startswith("date=")
    }
    for name in s3.names("out"):
        if name.startswith(("date=", "_broken")):
            assert (downloaded / name).read_bytes() == (tmp_path / "directory" / name).read_bytes()
    assert not [name for name in s3.names("out") if name.startswith("_work")]
    # Again, from this machine and from another one, of which nothing is known there.
    assert run(bucket("logs"), target).lines == 0
    assert run(bucket("logs"), BucketTarget(bucket("out"), tmp_path / "other"), again=True).duplicates == 700
    assert numbers(download(s3, "out", tmp_path / "again")) == Counter(range(700))


@pytest.mark.parametrize("trouble", ["500", "slow_down", "403", "expired", "hang"])
def test_trouble_while_reading_is_named_and_a_restart_goes_on(s3: BucketServer, tmp_path: Path, trouble: str) -> None:
    lines = make_lines(3000)
    upload(s3, write(tmp_path / "1.log", lines[:1500]), write(tmp_path / "2.log", lines[1500:]))
    impatient: dict[str, Any] = {"timeout_seconds": 0.5, "retry_seconds": 0.5}

    def choose(method: str, path: str, count: int) -> str:
        return trouble if method == "GET" and "2.log" in path else ""

    with troubled(s3, choose) as proxy:
        source = bucket("logs", **impatient, endpoint=proxy.url)
        words = {"500": "500 InternalError", "slow_down": "503 SlowDown", "expired": "renew the credentials"}
        if trouble == "403":
            # The others are read all the same: one object may be archived, or another one's.
            manifest = run(source, tmp_path / "out", part_bytes=1 << 20)
            assert (manifest.added, [bool(log.ended) for log in manifest.inputs]) == (1500, [False, True])
            assert "403 AccessDenied" in manifest.inputs[1].ended
        else:
            with pytest.raises(BucketError, match=words.get(trouble, "does not answer in time")):
                run(source, tmp_path / "out", part_bytes=1 << 20)
            assert len(list((tmp_path / "out").glob("_work/parts/*/result.json"))) == 1
    manifest = run(bucket("logs"), tmp_path / "out", part_bytes=1 << 20)
    assert manifest.added == (1500 if trouble == "403" else 3000)
    assert numbers(tmp_path / "out") == Counter(range(3000))


@pytest.mark.parametrize("trouble", ["500", "slow_down", "403", "expired", "hang", "lost"])
def test_trouble_while_writing_leaves_whole_files(s3: BucketServer, tmp_path: Path, trouble: str) -> None:
    upload(s3, write(tmp_path / "1.log", make_lines(2000, days=6)))
    impatient: dict[str, Any] = {"timeout_seconds": 0.5, "retry_seconds": 0.5}

    def choose(method: str, path: str, count: int) -> str:
        return trouble if method == "PUT" and "2026-02-01" in path else ""

    with troubled(s3, choose) as proxy:
        target = BucketTarget(bucket("out", **impatient, endpoint=proxy.url), tmp_path / "state")
        with pytest.raises(DispatcherError):
            run(bucket("logs"), target)
        assert proxy.made[trouble]
    seen = numbers(download(s3, "out", tmp_path / "seen"))
    assert set(seen.values()) == {1}
    assert 0 < len(seen) < 2000
    run(bucket("logs"), BucketTarget(bucket("out"), tmp_path / "state"))
    assert numbers(download(s3, "out", tmp_path / "after")) == Counter(range(2000))


def test_what_fails_now_and_then_is_tried_again(s3: BucketServer, tmp_path: Path) -> None:
    upload(s3, write(tmp_path / "1.log", make_lines(2000, days=6)))

    def choose(method: str, path: str, count: int) -> str:
        return ("500", "slow_down", "lost", "")[count % 4] if count % 8 < 4 else ""

    with troubled(s3, choose) as proxy:
        target = BucketTarget(bucket("out", endpoint=proxy.url), tmp_path / "state")
        manifest = run(bucket("logs", endpoint=proxy.url), target)
        assert proxy.made["lost"]
    assert manifest.added == 2000
    assert numbers(download(s3, "out", tmp_path / "out")) == Counter(range(2000))


_EXPORT = """
import os, signal, sys
from pathlib import Path
from dispatcher.exports.bucket.bucket import Bucket
from dispatcher.exports.bucket.log_object import find_objects
from dispatcher.exports.bucket.target import BucketTarget
from dispatcher.exports.parquet import ParquetExport
from dispatcher.exports.part_reading import Chosen
from dispatcher.forgetting.person import Person
from dispatcher.forgetting.places.bucket_exports import BucketExports

def watch(what, done, total):
    if (what, done) == ("writing days", 3):
        os.kill(os.getpid(), signal.SIGKILL)

target = BucketTarget(Bucket(url=sys.argv[2]), Path(sys.argv[3]))
ParquetExport(find_objects(Bucket(url=sys.argv[1])), target, Chosen(), processes=1, part_bytes=100_000).run(watch)
"""


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_killed_export_to_a_bucket_goes_on(s3: BucketServer, tmp_path: Path, where: str) -> None:
    upload(s3, write(tmp_path / "1.log", make_lines(2000, days=6)))
    words = [f"s3://{BUCKET}/logs", f"s3://{BUCKET}/out", str(tmp_path / "here")]
    environ = {**os.environ, "PYTHONPATH": os.getcwd()}
    killed = subprocess.run([sys.executable, "-c", _EXPORT, *words], env=environ, check=False)
    assert killed.returncode == -signal.SIGKILL

    target = BucketTarget(bucket("out"), tmp_path / where)
    if where == "elsewhere":
        with pytest.raises(DispatcherError, match=r"another export on .* writes to s3://lake/out"):
            run(bucket("logs"), target)
        # As after half an hour.
        obstore.delete(s3.store("out"), "_work/lock.json")
    run(bucket("logs"), target)
    assert numbers(download(s3, "out", tmp_path / "out")) == Counter(range(2000))


def test_two_machines_do_not_write_at_a_time(s3: BucketServer, tmp_path: Path) -> None:
    with BucketLock(bucket("out"), "one") as lock:
        with pytest.raises(DispatcherError, match="another export"), BucketLock(bucket("out"), "two"):
            pass
        lock.check()
    with BucketLock(bucket("out"), "two"):
        pass
    assert s3.names("out") == []


def test_an_address_without_logs_is_named(s3: BucketServer) -> None:
    with pytest.raises(DispatcherError, match="s3://lake/none has no objects"):
        find_objects(bucket("none"))
    with pytest.raises(BucketError, match="NoSuchBucket: look at the name"):
        find_objects(Bucket(url="s3://no-such-bucket/logs"))


def test_the_command_takes_addresses(s3: BucketServer, tmp_path: Path) -> None:
    upload(s3, write(tmp_path / "1.log", [*make_lines(25), b"garbage"]))
    words = ["export", "parquet", "--from", f"s3://{BUCKET}/logs/", "--to", f"s3://{BUCKET}/out/"]
    environ = {**os.environ, "DISPATCHER_STATE_DIRECTORY": str(tmp_path / "state")}
    command = [sys.executable, "-m", "dispatcher", *words]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "25  events added" in done.stdout
    assert f"broken lines: s3://{BUCKET}/out/_broken/" in done.stdout
    assert numbers(download(s3, "out", tmp_path / "out")) == Counter(range(25))


def test_a_person_is_taken_out_of_a_bucket(s3: BucketServer, tmp_path: Path) -> None:
    lines = [*make_lines(600, days=3), b'{"username": "user7", "no": "event"}']
    named = [number for number, line in enumerate(lines[:600]) if b'"user_id": 7,' in line or b'"user7"' in line]
    upload(s3, write(tmp_path / "1.log", lines))
    target = BucketTarget(bucket("out"), tmp_path / "state" / "exports" / "one")
    run(bucket("logs"), target)
    before = {name for name in s3.names("out") if name.startswith("date=")}

    place = BucketExports(tmp_path / "state" / "exports")
    person = Person(user_ids=("7",), usernames=("user7",))
    seen = list(place.look(person, lambda *_: None))
    assert sum(found.events for found in seen) == len(named) + 1
    assert numbers(download(s3, "out", tmp_path / "seen")) == Counter(range(600))

    taken = list(place.forget(person, Deletion(), lambda *_: None))
    assert [found.left for found in taken] == [""] * len(taken)
    assert sum(found.events for found in taken) == len(named) + 1
    assert sum(found.events for found in place.look(person, lambda *_: None)) == 0
    after = download(s3, "out", tmp_path / "after")
    assert numbers(after) == Counter(set(range(600)) - set(named))
    assert {name for name in s3.names("out") if name.startswith("date=")} == before
    assert not any(b"user7" in path.read_bytes() for path in after.glob("_broken/*"))
    assert [path.name for path in (tmp_path / "state" / "exports").iterdir()] == ["one"]
