"""``dispatcher forget``: nothing of a person is left in any place, and nothing comes back."""

from __future__ import annotations

import gzip
import json
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import zstandard
from click.testing import CliRunner, Result

from dispatcher.cli import main
from dispatcher.event import Event, encode
from dispatcher.exports.pseudonyms import Pseudonyms, read_key
from dispatcher.forgetting import Person
from dispatcher.forgetting.change import Deletion
from dispatcher.forgetting.places.claimed import Claimed
from dispatcher.store import dead_letter_files
from dispatcher.store.claim import Claim
from dispatcher.store.dead_letter import DeadLetter
from dispatcher.store.packing import pack
from dispatcher.store.put import Put
from dispatcher.store.settlement import Settlement
from tests.support.dead_letters import add_dead_letters
from tests.support.deliveries import LOG, SEGMENT
from tests.support.open_store import OpenStore
from tests.support.search_of_bytes import has_ada, places_with_ada, unpacked
from tests.support.site import ALLOWLIST, Site
from tests.support.waiting import PATIENCE, wait_for

OPTIONS = ("--user", "4200042", "--username", "ada_1815", "--username", "ada_old_1815")
ALL_OPTIONS = (*OPTIONS, "--email", "Ada@Lovelace.example", "--session", "5e55")

# Events of Ada, events of others that name her, and events of others.
EMIT = """
for n in range(int(sys.argv[1])):
    with tracker.context("request", {"user_id": 4200042, "username": "ada_1815", "session": "5e55"}):
        tracker.emit("shop.order.paid", {"n": 4 * n})
    with tracker.context("request", {"user_id": 7, "username": "bob"}):
        tracker.emit("shop.order.paid", {"n": 4 * n + 1, "student": "ada_old_1815"})
        tracker.emit("shop.order.paid", {"n": 4 * n + 2, "text": "write to ada@lovelace.example"})
        tracker.emit("shop.order.paid", {"n": 4 * n + 3})
"""


@pytest.fixture
def site(site: Site) -> Site:
    """A site that no relay of a killed process empties, with exports in a directory that the settings name."""
    site.environ["DISPATCHER_FORGETTING__DIRECTORIES"] = json.dumps([str(site.directory / "exports")])
    (site.directory / "exports").mkdir()
    return site


def run(site: Site, *arguments: str) -> Result:
    return CliRunner(env=site.environ).invoke(main, [*arguments], catch_exceptions=False)


def numbers_in(lines: bytes) -> list[int]:
    return sorted(
        json.loads(line)["event"]["n"] for line in lines.splitlines() if line.startswith(b"{") and line.endswith(b"}")
    )


def lines_in(lake: Path) -> list[int]:
    return numbers_in(b"".join(unpacked(path) for path in lake.rglob("*.log.gz")))


def emit(site: Site, rounds: int, *, end: str = "") -> None:
    """Emit four events a round; ``end`` may kill the process."""
    child = site.emitting(EMIT + end, str(rounds), **({"DISPATCHER_RELAY__MODE": "external"} if end else {}))
    assert child.wait() == (-signal.SIGKILL if end else 0), child.output


def fill(site: Site) -> Path:
    """Put Ada into every place. Returns a copy of the log, as somebody may keep it."""
    worker = site.worker()
    emit(site, 10)
    site.wait_until_delivered()
    worker.kill()
    log = site.log.read_bytes()
    copy = site.directory.parent / f"{site.directory.name}-copy.log"
    copy.write_bytes(log)
    broken = b'{"username": "ada_1815", "event": {"x": \n2026 [tracking] no JSON of anybody\n'
    site.log.with_name("tracking.log-20260101-1.gz").write_bytes(gzip.compress(log + broken))
    site.log.with_name("tracking.log-20260102-2.zst").write_bytes(zstandard.ZstdCompressor().compress(log))
    parquet = ("export", "parquet", "--from", str(site.log.with_name("tracking.log-20260101-1.gz")))
    assert run(site, *parquet, "--to", str(site.directory / "exports")).exit_code == 0
    emit(site, 5)
    emit(site, 5, end="os.kill(os.getpid(), 9)")
    event = encode_event(n=1, username="ada_1815")
    add_dead_letters(site.store, event, encode_event(n=2, username="bob"))
    letter = DeadLetter(
        destination=SEGMENT, id="1-1", reason="oversized", error="of ada_1815", attempts=1, payload=event
    )
    dead_letter_files.write(
        dead_letter_files.directory_of(Path(site.environ["DISPATCHER_STATE_DIRECTORY"])), SEGMENT, [letter]
    )
    return copy


def encode_event(n: int, username: str) -> bytes:
    return encode(
        Event(
            id=f"id-{n}",
            name="shop.order.paid",
            timestamp=datetime.now(UTC),
            data={"n": n},
            context={"username": username},
        )
    )


def test_nothing_of_a_person_is_left_and_nothing_comes_back(site: Site) -> None:
    lake = site.directory / "lake"
    table = f'[destinations.lake]\ntype = "object_storage"\nurl = "{lake.as_uri()}"\nwait_seconds = 0\n'
    site.allow(ALLOWLIST, more=table)
    copy = fill(site)
    before = places_with_ada(site)
    kinds = ("tracking.log", ".gz", ".zst", ".parquet", ".journal", "/dead/", "_broken", ":dead", ":batch:", "/lake/")
    assert all(any(kind in place for place in before) for kind in kinds), before

    looked = run(site, "forget", *ALL_OPTIONS, "--max-share", "1")
    assert looked.exit_code == 0, looked.output
    assert "Nothing was changed" in looked.output
    assert places_with_ada(site) == before

    done = run(site, "forget", *ALL_OPTIONS, "--max-share", "1", "--do", "--json")
    receipt = json.loads(done.stdout)
    assert done.exit_code == 0, receipt
    assert places_with_ada(site) == []
    assert not has_ada(done.output.encode())
    assert sum(found["events"] for found in receipt["found"]) >= 100

    # What is of others is all there.
    others = [4 * n + 3 for n in range(10)]
    rotated = [unpacked(path) for path in site.log.parent.glob("tracking.log*")]
    assert len(rotated) == 3
    assert all(numbers_in(lines) == others for lines in rotated)
    assert any(b"no JSON of anybody" in lines for lines in rotated)
    assert lines_in(lake) == others
    table = pq.read_table(site.directory / "exports", partitioning=None, filters=[("username", "==", "bob")])
    assert len(table) == 10

    again = run(site, "forget", *ALL_OPTIONS, "--do")
    assert again.exit_code == 0
    assert " 0  events were taken out" in again.output

    # A replay, an export, a Redis that has lost all, and new events.
    replayed = run(site, "replay", "--from", str(copy), "--to", SEGMENT, "--json")
    assert (json.loads(replayed.stdout)["chosen"], json.loads(replayed.stdout)["forgotten"]) == (10, 30)
    exported = run(site, "export", "parquet", "--from", str(copy), "--to", str(site.directory / "exports"), "--json")
    assert json.loads(exported.stdout)["sums"]["left_out"] == {"forgotten": 30}
    site.redis.call("FLUSHALL")
    site.relay_once()
    emit(site, 2)
    site.worker()
    site.wait_until_delivered()
    # What an app emits anew is in its outbox until that is settled.
    assert [place for place in places_with_ada(site) if not place.endswith(".journal")] == []
    site.assert_ledger_closes()
    assert site.counts(LOG).filtered_by_reason["forgotten"] >= 6
    # What came before, what a killed process had emitted, and what is new; what Redis had lost came again.
    assert set(lines_in(lake)) == set(others)

    # The way back.
    assert run(site, "unsuppress", *ALL_OPTIONS).exit_code == 0
    wait_for(lambda: comes_again(site), what="new events of the person to go on")
    assert run(site, "unsuppress", *ALL_OPTIONS).exit_code == 1


def comes_again(site: Site) -> bool:
    emit(site, 1)
    site.wait_until_delivered()
    return has_ada(site.log.read_bytes())


def pseudonyms(site: Site) -> tuple[str, str]:
    """The option, with a key that is made."""
    return "--pseudonyms", str(site.directory.parent / f"{site.directory.name}.key")


def test_with_pseudonyms_every_event_stays_and_nobody_finds_the_person(site: Site) -> None:
    forget = ("forget", *ALL_OPTIONS, "--max-share", "1", *pseudonyms(site))
    assert run(site, *forget).exit_code == 0
    assert not Path(pseudonyms(site)[1]).exists(), "a look has made a key"
    worker = site.worker()
    emit(site, 10)
    site.wait_until_delivered()
    worker.kill()
    log = site.log.read_bytes()
    rotated = site.log.with_name("tracking.log-20260101-1.gz")
    rotated.write_bytes(gzip.compress(log + b'{"username": "ada_1815", "event": {"x": \n2026 no JSON of anybody\n'))
    copy, research = (site.directory.parent / f"{site.directory.name}-{name}" for name in ("copy.log", "research"))
    copy.write_bytes(log)
    export = ("export", "parquet", "--processes", "1", "--from")
    assert run(site, *export, str(rotated), "--to", str(site.directory / "exports")).exit_code == 0
    assert run(site, *export, str(copy), "--to", str(research), *pseudonyms(site)).exit_code == 0
    emit(site, 5)  # which wait, as there is no worker
    dead = [encode_event(n=n, username=name) for n, name in ((1, "ada_1815"), (2, "bob"))]
    add_dead_letters(site.store, *dead)
    add_dead_letters(site.store, dead[0], destination=LOG)
    files = dead_letter_files.directory_of(Path(site.environ["DISPATCHER_STATE_DIRECTORY"]))
    for destination in (LOG, SEGMENT):
        letter = DeadLetter(
            destination=destination, id="1-1", reason="oversized", error="of ada_1815", attempts=1, payload=dead[0]
        )
        dead_letter_files.write(files, destination, [letter])

    done = run(site, *forget, "--do", "--json")
    receipt = json.loads(done.stdout)
    assert (done.exit_code, receipt["how"]) == (0, "pseudonymised"), receipt
    assert Path(pseudonyms(site)[1]).read_text().strip() not in done.stdout
    assert places_with_ada(site) == []

    # Every event that could be read is still there, with the names that the export gave.
    every = list(range(40))
    assert [numbers_in(unpacked(path)) for path in sorted(site.log.parent.glob("tracking.log*"))] == [every, every]
    name = Pseudonyms(read_key(Path(pseudonyms(site)[1]))).name
    own = {"user_id": name("4200042"), "username": name("ada_1815"), "session": name("5e55")}
    for directory in (site.directory / "exports", research):
        rows = pq.read_table(directory, partitioning=None, columns=list(own)).to_pylist()
        assert (len(rows), rows.count(own)) == (40, 10)
    letters = {dead_letter_files.destination_of(path): unpacked(path) for path in files.glob("*.gz")}
    assert b'"n":1' in letters[LOG]
    assert b'"n":1' not in letters[SEGMENT]

    # Done again, it changes nothing.
    before = {path: path.stat().st_mtime_ns for path in site.log.parent.iterdir() if path.is_file()}
    again = run(site, *forget, "--do")
    assert again.exit_code == 0
    assert " 0  events were pseudonymised" in again.output
    assert {path: path.stat().st_mtime_ns for path in before} == before

    # What waited for the log, or was dead there, arrives; and at the vendor nobody whose name it does not know.
    replayed = run(site, "replay", "--from", str(copy), "--to", SEGMENT, "--json")
    assert json.loads(replayed.stdout)["forgotten"] == 30
    site.worker()
    site.wait_until_delivered()
    assert numbers_in(site.log.read_bytes()) == sorted([1, *range(20)])
    assert site.counts(SEGMENT).filtered_by_reason["forgotten"] >= 15
    assert places_with_ada(site) == []
    site.assert_ledger_closes()


@pytest.mark.parametrize(
    ("steps", "is_kept"),
    [(("suppressed.json", ".tracking.log-20260101-1.forget"), False), ((".tracking.log-20260101-0.forget",), True)],
    ids=["deleted", "pseudonymised"],
)
def test_a_forget_that_is_killed_goes_on_when_it_is_run_again(
    site: Site, steps: tuple[str, ...], *, is_kept: bool
) -> None:
    line = b'{"username": "%s", "context": {"user_id": %d}, "event": {"n": %d}, "time": "2026-01-01T00:00:00+00:00"}\n'
    lines = b"".join(line % (b"ada_1815" if n % 7 == 0 else b"bob", n % 5, n) for n in range(30_000))
    for number in range(3):
        site.log.with_name(f"tracking.log-20260101-{number}").write_bytes(lines)
    left = [n for n in range(30_000) if n % 7 or is_kept]
    forget = ("forget", *OPTIONS, "--max-share", "1", "--do", *(pseudonyms(site) if is_kept else ()))
    for step in steps:
        child = site.processes.dispatcher(*forget)
        wait_for(lambda step=step, child=child: list(site.directory.rglob(step)) or not child.running, what=step)
        child.kill()
        for path in site.log.parent.glob("tracking.log-*"):
            content = path.read_bytes()
            assert content == lines or (not has_ada(content) and numbers_in(content) == left)
    done = run(site, *forget)
    assert done.exit_code == 0, done.output
    assert places_with_ada(site) == []
    assert all(numbers_in(path.read_bytes()) == left for path in site.log.parent.glob("tracking.log-*"))


def test_a_slip_of_the_keyboard_and_a_legal_hold_change_nothing(site: Site) -> None:
    fill(site)
    before = places_with_ada(site)
    refused = run(site, "forget", *OPTIONS, "--do")
    assert refused.exit_code == 5
    assert "--max-share" in refused.output
    site.allow(["shop.order.*"], more='[retention.holds.court]\nreason = "case 7"\nusers = ["ada_1815"]\n')
    held = run(site, "forget", *OPTIONS, "--do", "--max-share", "1")
    assert held.exit_code == 5
    assert "legal hold court" in held.output
    assert places_with_ada(site) == before
    assert not has_ada((refused.output + held.output).encode())


def test_who_is_written_about_meanwhile_is_not_held_up(site: Site) -> None:
    site.worker()
    emit(site, 20)
    site.wait_until_delivered()
    writer = site.emitting(EMIT.replace("int(sys.argv[1])", "300"))
    done = run(site, "forget", *ALL_OPTIONS, "--do", "--max-share", "1")
    writer.succeed()
    site.wait_until_delivered()
    run(site, "forget", *ALL_OPTIONS, "--do", "--max-share", "1")
    assert places_with_ada(site) == [], done.output
    lines = b"".join(path.read_bytes() for path in site.log.parent.glob("tracking.log*"))
    assert numbers_in(lines) == sorted([4 * n + 3 for n in range(20)] + [4 * n + 3 for n in range(300)])
    site.assert_ledger_closes()


def test_what_workers_have_taken_is_waited_for(store: OpenStore) -> None:
    puts = [Put(destination=LOG, journal="7-a", start=at, end=at + 1, packed=pack([b"{}"]), count=1) for at in range(2)]
    store.put(puts)
    claims = [store.claim(LOG, put.batch_id, token="me", lease_seconds=60) for put in puts]
    person = Person(usernames=("ada_1815",))

    def settle(claim: object) -> None:
        assert isinstance(claim, Claim)
        store.settle(claim, Settlement(delivered=1))

    def forget(seconds: float, *settled: object) -> list[str]:
        place = Claimed(store.pool, {LOG: seconds})
        threads = [threading.Thread(target=settle, args=(claim,)) for claim in settled]
        found = place.forget(person, Deletion(), lambda *_: [thread.start() for thread in threads] and None)
        return [one.left for one in found]

    assert forget(0.0) == ["2 batches may still be on the way there: run it again"]
    assert forget(PATIENCE, *claims) == []
