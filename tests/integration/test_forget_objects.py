"""A person in a bucket: each object that names one is replaced, whatever others answer, and nothing comes back."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner

from dispatcher.cli import main
from dispatcher.destinations.base import Batch
from dispatcher.event import Event, encode
from dispatcher.exports.bucket.bucket import Bucket
from dispatcher.forgetting import Found, Person
from dispatcher.forgetting.change import Deletion
from dispatcher.forgetting.object_files import ObjectFiles
from dispatcher.tasks.destinations.object_storage import ObjectStorage
from dispatcher.tasks.destinations.object_storage.log_object import read_spans
from dispatcher.tasks.testing import fates
from tests.support.bucket_server import BUCKET, BucketServer, troubled, variables

ADA = Person(user_ids=("4200042",), usernames=("ada_1815",))
PREFIX = "tracking"


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


def open_lake(s3: BucketServer, directory: Path, **options: object) -> ObjectStorage:
    given = {
        "url": f"s3://{BUCKET}/{PREFIX}",
        "endpoint": s3.url,
        "region": "us-east-1",
        "credentials": {"access_key_id": "key", "secret_access_key": "secret"},
        "wait_seconds": 0,
        **options,
    }
    lake = ObjectStorage("lake", ObjectStorage.Options.model_validate(given))
    lake.state_directory = directory
    return lake


def event(number: int, *, hour: int, is_ada: bool = False, names_ada: bool = False) -> Event:
    return Event(
        id=f"00000000-0000-4000-8000-{number:012}",
        name="shop.order.paid",
        timestamp=datetime(2026, 3, 4, hour, 0, 1, tzinfo=UTC),
        data={"n": number, **({"student": "ada_1815"} if names_ada else {})},
        context={"user_id": 4200042} if is_ada else {"user_id": 7},
    )


def batch(events: Sequence[Event], name: str) -> Batch:
    return Batch(destination="lake", id=name, payloads=tuple(encode(one) for one in events))


def again(sent: Batch) -> Batch:
    """The batch as a worker gets it that takes it over when the person is on the list."""
    named = [place for place, one in enumerate(sent.payloads) if ADA.is_named_in(msgspec.json.decode(one))]
    left = tuple(one for place, one in enumerate(sent.payloads) if place not in named)
    return replace(sent, payloads=left, forgotten=tuple(named), maybe_delivered=True)


def contents(s3: BucketServer) -> dict[str, bytes]:
    store = s3.store(PREFIX)
    return {name: bytes(obstore.get(store, name).bytes()) for name in s3.names(PREFIX)}


def unpacked(content: bytes) -> bytes:
    if content.startswith(b"\x1f\x8b"):
        return gzip.decompress(content)
    return zstandard.ZstdDecompressor().decompressobj().decompress(content)


def numbers(s3: BucketServer) -> Counter[int]:
    lines = [line for content in contents(s3).values() for line in unpacked(content).splitlines()]
    return Counter(json.loads(line)["event"]["n"] for line in lines)


def ignore(_what: str, _done: int, _of: int) -> None:
    """Nobody watches."""


def total(found: Iterator[Found]) -> tuple[int, int, list[str]]:
    all_found = list(found)
    left = [one.left for one in all_found if one.left]
    return sum(one.events for one in all_found), sum(one.of for one in all_found), left


@pytest.mark.parametrize(("compression", "where"), [("gzip", "bucket"), ("zstd", "bucket"), ("gzip", "directory")])
def test_what_a_killed_worker_wrote_is_forgotten_and_stays_so(
    s3: BucketServer, tmp_path: Path, compression: str, where: str
) -> None:
    directory = tmp_path / "lake"
    is_bucket = where == "bucket"
    options = {} if is_bucket else {"url": directory.as_uri(), "endpoint": None, "region": None, "credentials": {}}
    lake = open_lake(s3, tmp_path, compression=compression, **options)

    def objects() -> dict[str, bytes]:
        if is_bucket:
            return contents(s3)
        paths = [path for path in directory.rglob("*") if path.is_file()]
        return {str(path.relative_to(directory)): path.read_bytes() for path in paths}

    def seen() -> Counter[int]:
        lines = [line for content in objects().values() for line in unpacked(content).splitlines()]
        return Counter(json.loads(line)["event"]["n"] for line in lines)

    first = batch([event(n, hour=9, is_ada=n in (0, 3), names_ada=n == 5) for n in range(10)], "one")
    second = batch([event(n, hour=10 if n > 12 else 11, is_ada=n > 12) for n in range(10, 16)], "two")
    assert fates([one for outcomes in lake.deliver_all([first, second]) for one in outcomes]) == ["delivered"] * 16
    before = objects()
    (place,) = lake.places()
    assert total(place.look(ADA, ignore)) == (6, 16, [])
    assert objects() == before

    assert total(place.forget(ADA, Deletion(), ignore)) == (6, 16, [])
    assert total(place.look(ADA, ignore)) == (0, 10, [])
    others = Counter({1, 2, 4, 6, 7, 8, 9, 10, 11, 12})
    assert seen() == others
    after = objects()
    # The hour with nobody else has no object any more; the others keep their names, and their notes of batches.
    assert set(after) == {name for name in before if "hour=10" not in name}
    assert all(read_spans(name, after[name]) == read_spans(name, before[name]) != [] for name in after)
    if is_bucket:
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    # Whoever takes over what the worker has not settled: whole, and in parts.
    with_list = [again(one) for one in (first, second)]
    parts = [replace(first, payloads=first.payloads[:4]), replace(first, payloads=first.payloads[4:], first=4)]
    for repeats in (with_list, [again(one) for one in parts]):
        outcomes = [one for done in open_lake(s3, tmp_path, **options).deliver_all(repeats) for one in done]
        assert set(fates(outcomes)) == {"delivered"}
        assert seen() == others


def test_a_part_with_forgotten_events_says_which_places_it_had(s3: BucketServer, tmp_path: Path) -> None:
    events = [event(n, hour=9, is_ada=n < 4) for n in range(10)]
    whole = batch(events, "one")
    assert fates(open_lake(s3, tmp_path).deliver(again(whole))) == ["delivered"] * 6
    for part in (replace(whole, payloads=whole.payloads[:6]), replace(whole, payloads=whole.payloads[6:], first=6)):
        assert set(fates(open_lake(s3, tmp_path).deliver(again(part)))) == {"delivered"}
    assert numbers(s3) == Counter(range(4, 10))


def test_an_object_that_fails_is_named_and_the_others_are_done(s3: BucketServer, tmp_path: Path) -> None:
    line = b'{"context": {"user_id": %d}, "event": {"n": %d}}\n'
    store = s3.store(PREFIX)
    good, failing = [f"dt=2026-03-0{n}/{n}.log.gz" for n in range(1, 6)], ("403", "slow_down", "hang")
    for n, name in enumerate([*good, *(f"dt=2026-03-06/{trouble}.log.gz" for trouble in failing)]):
        obstore.put(store, name, gzip.compress(line % (4200042, 2 * n) + line % (7, 2 * n + 1)))
    obstore.put(store, "dt=2026-03-06/cut.log.gz", gzip.compress(line % (4200042, 90) * 100)[:60])
    obstore.put(store, "dt=2026-03-06/gone.log.gz", gzip.compress(line % (4200042, 91)))
    obstore.put(store, "of-somebody-else.txt", b"ada_1815")
    before = contents(s3)
    # As a run leaves it that was killed.
    (tmp_path / "work" / "killed").mkdir(parents=True)
    (tmp_path / "work" / "killed" / "object").write_bytes(b"ada_1815")

    def choose(method: str, path: str, _: int) -> str:
        if method == "GET" and "gone.log" in path:
            obstore.delete(store, "dt=2026-03-06/gone.log.gz")
        return next((trouble for trouble in failing if method == "GET" and f"/{trouble}.log" in path), "")

    with troubled(s3, choose) as proxy:
        there = Bucket(url=f"s3://{BUCKET}/{PREFIX}", endpoint=proxy.url, timeout_seconds=1.0, retry_seconds=1.0)
        files = ObjectFiles("lake", there, tmp_path / "work", lambda name: name.endswith(".gz"))
        done = list(files.forget(ADA, Deletion(), ignore))
    left = {one.where.rpartition("/")[2]: one.left for one in done if one.left}
    assert set(left) == {"403.log.gz", "slow_down.log.gz", "hang.log.gz", "cut.log.gz", "gone.log.gz"}
    for name, word in (
        ("403", "403"),
        ("slow_down", "SlowDown"),
        ("hang", "in time"),
        ("cut", "cut off"),
        ("gone", "gone"),
    ):
        assert word in left[f"{name}.log.gz"], left
    assert total(iter(done))[0] == len(good)
    after = contents(s3)
    assert [unpacked(after[name]) for name in good] == [line % (7, 2 * n + 1) for n in range(5)]
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {*good, "dt=2026-03-06/gone.log.gz"}
    assert not (tmp_path / "work").exists()


def test_what_is_replaced_while_it_is_read_is_left_for_the_next_run(s3: BucketServer, tmp_path: Path) -> None:
    store, name = s3.store(PREFIX), "dt=2026-03-04/1.log.gz"
    ada, bob = (b'{"username": "%s"}\n' % user for user in (b"ada_1815", b"bob"))
    obstore.put(store, name, gzip.compress(ada + bob))

    def choose(method: str, path: str, _: int) -> str:
        if method == "PUT" and name.rpartition("/")[2] in path:
            obstore.put(store, name, gzip.compress(bob + bob + ada))
        return ""

    with troubled(s3, choose) as proxy:
        files = ObjectFiles("lake", Bucket(url=f"s3://{BUCKET}/{PREFIX}", endpoint=proxy.url), tmp_path / "w", bool)
        assert total(files.forget(ADA, Deletion(), ignore))[2] == ["it was replaced meanwhile: run it again"]
    assert unpacked(contents(s3)[name]) == bob + bob + ada
    files = ObjectFiles("lake", Bucket(url=f"s3://{BUCKET}/{PREFIX}"), tmp_path / "w", bool)
    assert total(files.forget(ADA, Deletion(), ignore)) == (1, 3, [])
    assert unpacked(contents(s3)[name]) == bob + bob


def test_a_bucket_that_gives_nothing_is_not_asked_for_all(s3: BucketServer, tmp_path: Path) -> None:
    store = s3.store(PREFIX)
    for n in range(80):
        obstore.put(store, f"dt=2026-03-04/{n}.log.gz", b"\x1f\x8b")
    with troubled(s3, lambda method, path, _: "expired" if ".log" in path else "") as proxy:
        there = Bucket(url=f"s3://{BUCKET}/{PREFIX}", endpoint=proxy.url, retry_seconds=1.0)
        _, _, left = total(ObjectFiles("lake", there, tmp_path / "w", bool).look(ADA, ignore))
        assert proxy.made["expired"] < 70
    assert "ExpiredToken: renew the credentials" in left[0]
    assert "the rest was left out" in left[-1]


def test_the_command_looks_into_folders_of_buckets(s3: BucketServer, tmp_path: Path) -> None:
    store = s3.store("raw")
    line = b'2026-03-04 INFO [tracking] [user 7] {"context": {"user_id": %d}, "event": {"n": %d}}\n'
    obstore.put(store, "host-1/tracking.log-1.gz", gzip.compress(line % (4200042, 1) + line % (7, 2)))
    obstore.put(store, "tracking.log", line % (4200042, 3) + line % (7, 4))
    rows = pa.table({"username": ["ada_1815", "bob"], "event": ["{}", "{}"], "context": ["{}", "{}"]})
    pq.write_table(rows, tmp_path / "1.parquet")
    obstore.put(store, "days/1.parquet", tmp_path / "1.parquet")
    obstore.put(store, "packages/x.log.gz.gpg", b"closed")
    environ = {
        **variables(s3.port),
        "DISPATCHER_STATE_DIRECTORY": str(tmp_path / "state"),
        "DISPATCHER_FORGETTING__BUCKETS": json.dumps([f"s3://{BUCKET}/raw/host-1"]),
    }
    words = ("forget", "--user", "4200042", "--username", "ada_1815", "--without-redis", "--json", "--max-share", "1")
    given = ("--in", f"s3://{BUCKET}/raw/", "--do")
    done = CliRunner(env=environ).invoke(main, [*words, *given], catch_exceptions=False)
    receipt = json.loads(done.stdout)
    # What is encrypted has to be made anew.
    assert [one["where"] for one in receipt["left"] if one["left"]] == [f"s3://{BUCKET}/raw/packages/x.log.gz.gpg"]
    assert done.exit_code == 1
    assert sum(one["events"] for one in receipt["found"]) == 3
    assert gzip.decompress(bytes(obstore.get(store, "host-1/tracking.log-1.gz").bytes())) == line % (7, 2)
    assert bytes(obstore.get(store, "tracking.log").bytes()) == line % (7, 4)
    (tmp_path / "2.parquet").write_bytes(obstore.get(store, "days/1.parquet").bytes())
    assert pq.read_table(tmp_path / "2.parquet")["username"].to_pylist() == ["bob"]
    assert not list((tmp_path / "state").rglob("object"))
