"""``dispatcher export research-package``: a real gpg encrypts, and the holders of the keys read exactly their lines."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from dispatcher.errors import DispatcherError
from dispatcher.exports.research_package import gnupg
from dispatcher.exports.research_package.export import PackageManifest, PackagePlan, ResearchPackage
from dispatcher.exports.research_package.gnupg import read_key
from dispatcher.exports.research_package.rules import Partner, Rules

pytestmark = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed: apt-get install gnupg")


@dataclass
class Keys:
    """Key pairs of partners, and their public keys as files."""

    home: Path
    directory: Path

    def gpg(self, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--no-tty", "--pinentry-mode", "loopback"]
        return subprocess.run([*command, "--passphrase", "", *words], capture_output=True, check=True, **options)

    def make(self, name: str, expires: str = "never", usage: str = "default", algorithm: str = "default") -> Path:
        extra = ["--faked-system-time", "20200101T000000"] if expires.startswith("2020") else []
        self.gpg(*extra, "--quick-generate-key", name, algorithm, usage, expires)
        path = self.directory / name
        path.write_bytes(self.gpg("--export", name).stdout)
        return path

    def read(self, path: Path) -> list[bytes]:
        packed = self.gpg("--decrypt", str(path)).stdout if path.suffix == ".gpg" else path.read_bytes()
        return gzip.decompress(packed).splitlines()


@pytest.fixture(scope="module")
def keys() -> Iterator[Keys]:
    # gpg's agent has a socket in it, whose path may have some hundred characters only.
    with TemporaryDirectory(prefix="dispatcher-gpg-") as directory:
        home = Path(directory)
        found = Keys(home / "g", home / "keys")
        found.home.mkdir(mode=0o700)
        found.directory.mkdir()
        for name in ("ada@foo.org", "bob@bar.org", "master@example.org"):
            found.make(name)
        yield found
        subprocess.run(["gpgconf", "--homedir", str(found.home), "--kill", "all"], check=False)


def line(number: int, org: str, day: str = "2026-01-30", **changes: Any) -> bytes:
    record = {
        "context": {"org_id": org, "course_id": f"course-v1:{org}+C+1"},
        "time": f"{day}T12:00:00.{number:06}+00:00",
        "event_source": "server",
        "event_type": "problem_check",
        "host": "lms",
        "event": {"n": number},
        **changes,
    }
    return json.dumps(record).encode()


def write(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def export(
    logs: Sequence[Path], to: Path, keys: Keys | None, *, max_files: int = 100, **options: Any
) -> PackageManifest:
    partners = [Partner(name="FooX"), Partner(name="BarX", other_names=["Bar"])]
    rules_name = options.pop("rules", "default")
    by = options.pop("by", "organisation")
    readers = {"FooX": ["ada@foo.org", "master@example.org"], "BarX": ["bob@bar.org", "master@example.org"]}
    of_partner = (
        {name: [read_key(keys.directory / file) for file in files] for name, files in readers.items()} if keys else {}
    )
    rules = Rules(partners, rules_name, **options)
    plan = PackagePlan(rules=rules, rules_name=rules_name, site="prod", keys=of_partner, by=by)
    manifest = ResearchPackage(logs, to, plan, max_files=max_files).run(lambda done, total: None)
    assert manifest.difference == 0, manifest
    assert not (to / "_work" / "package").exists()
    return manifest


def test_each_partner_reads_its_lines_and_nobody_elses(tmp_path: Path, keys: Keys) -> None:
    foo = [line(n, "FooX") for n in range(300)]
    bar = [line(n, ("BarX", "Bar")[n % 2]) for n in range(200)]
    late = [line(n, "FooX", "2026-01-31") for n in range(5)]
    log = write(tmp_path / "tracking.log", [*foo, b"garbage", *bar, line(1, "Other"), b"", *late])
    out = tmp_path / "out"
    manifest = export([log], out, keys)

    files = {
        "foox/prod/events/2026/foox-prod-events-2026-01-30.log.gz.gpg": foo,
        "barx/prod/events/2026/barx-prod-events-2026-01-30.log.gz.gpg": bar,
        "foox/prod/events/2026/foox-prod-events-2026-01-31.log.gz.gpg": late,
    }
    assert [file.file for file in manifest.files] == sorted(files)
    for file in manifest.files:
        assert keys.read(out / file.file) == files[file.file]
        assert file.lines == len(files[file.file])
        assert file.sha256 == sha256((out / file.file).read_bytes()).hexdigest()
        assert file.sha256_lines == sha256(b"\n".join(files[file.file]) + b"\n").hexdigest()
        packets = keys.gpg("--list-packets", str(out / file.file)).stdout.decode()
        assert packets.count(":pubkey enc packet:") == 2
    assert manifest.dropped == {"empty": 1, "organisation": 1, "unparseable": 1}
    assert json.loads((out / "_MANIFEST.json").read_bytes())["chosen"] == manifest.chosen == 505


def test_a_holder_of_another_key_reads_nothing(tmp_path: Path, keys: Keys) -> None:
    out = tmp_path / "out"
    export([write(tmp_path / "tracking.log", [line(1, "FooX")])], out, keys)
    [file] = out.rglob("*.gpg")
    with TemporaryDirectory(prefix="dispatcher-gpg-") as home:
        stranger = Keys(Path(home), tmp_path)
        stranger.make("eve@evil.org")
        with pytest.raises(subprocess.CalledProcessError):
            stranger.read(file)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)


def test_lines_stay_as_they_are_by_edx_rules_and_lose_their_prefix_by_ours(tmp_path: Path) -> None:
    odd = b'{"time":  "2026-01-30T1", "event_source":"server","host":"x", "context":{"org_id":"FooX"}, "event_type":1}'
    log = write(tmp_path / "tracking.log", [b" Jan 30 lms: " + odd + b"  ", odd])

    export([log], tmp_path / "edx", None, rules="edx")
    [file] = (tmp_path / "edx").rglob("*.gz")
    assert gzip.decompress(file.read_bytes()) == b"Jan 30 lms: " + odd + b"\n" + odd + b"\n"
    manifest = export([log], tmp_path / "own", None)
    [file] = (tmp_path / "own").rglob("*.gz")
    assert gzip.decompress(file.read_bytes()) == odd + b"\n"
    assert manifest.dropped == {"duplicate": 1}


def test_more_days_than_may_be_open_come_one_after_another(tmp_path: Path) -> None:
    days = [f"2026-01-{n:02}" for n in range(1, 13)]
    lines = [line(n, ("FooX", "BarX")[n % 2], days[n * 7 % 12]) for n in range(240)]
    log = write(tmp_path / "tracking.log", lines)

    few, many = export([log], tmp_path / "few", None, max_files=3), export([log], tmp_path / "many", None)
    assert few == many
    assert len(few.files) == 12
    assert sum(file.lines for file in few.files) == 240
    for file in few.files:
        assert (tmp_path / "few" / file.file).read_bytes() == (tmp_path / "many" / file.file).read_bytes()


def test_a_day_done_again_is_replaced_at_once(tmp_path: Path, keys: Keys) -> None:
    log, out = write(tmp_path / "tracking.log", [line(1, "FooX")]), tmp_path / "out"
    export([log], out, keys)
    [before] = export([log], out, keys).files
    [after] = export([write(log, [line(1, "FooX"), line(2, "FooX")])], out, keys).files

    assert (before.file, before.sha256_gzip == after.sha256_gzip) == (after.file, False)
    assert keys.read(out / after.file) == [line(1, "FooX"), line(2, "FooX")]


def test_by_course_each_has_its_own_file(tmp_path: Path) -> None:
    lines = [line(1, "FooX"), line(2, "FooX", context={"course_id": "FooX/C/1"}), line(3, "FooX", context={})]
    log = write(tmp_path / "tracking.log", lines)

    own = export([log], tmp_path / "own", None, by="course")
    assert {file.file for file in own.files} == {
        "course-v1_FooX_C_1/events/course-v1_FooX_C_1-events-2026-01-30.log.gz",
        "FooX_C_1/events/FooX_C_1-events-2026-01-30.log.gz",
    }
    assert own.dropped == {"course": 1}
    [file] = export([log], tmp_path / "edx", None, by="course", rules="edx").files
    assert (file.file, file.lines) == ("FooX_C_1/events/FooX_C_1-events-2026-01-30.log.gz", 2)


def test_a_gpg_that_fails_leaves_no_half_file(tmp_path: Path, keys: Keys) -> None:
    log, out = write(tmp_path / "tracking.log", [line(n, "FooX") for n in range(20_000)]), tmp_path / "out"
    bad = tmp_path / "bad.key"
    bad.write_bytes(b"no key")
    plan = PackagePlan(
        rules=Rules([Partner(name="FooX")], "default"),
        rules_name="default",
        site="prod",
        keys={"FooX": [gnupg.PublicKey(bad, None)]},
    )
    with pytest.raises(DispatcherError, match="gpg could not encrypt"):
        ResearchPackage([log], out, plan).run(lambda done, total: None)
    assert [path.name for path in out.rglob("*") if path.is_file()] == ["lock"]


def test_a_key_that_cannot_be_used_is_named(tmp_path: Path, keys: Keys) -> None:
    expired = keys.make("old@foo.org", "20200301T000000")
    signing = keys.make("sign@foo.org", usage="sign", algorithm="ed25519")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"x")
    for path, reason in [
        (expired, "has expired on 2020-03-01"),
        (signing, "is not for encryption"),
        (garbage, "holds 0 public keys"),
        (tmp_path / "none", "does not exist"),
    ]:
        with pytest.raises(DispatcherError, match=reason):
            read_key(path)
    assert read_key(keys.directory / "ada@foo.org").expires is None


SETTINGS = """
[research_package]
keys_directory = "{keys}"
master_key = "master@example.org"

[research_package.organisations.FooX]
recipients = ["ada@foo.org"]

[research_package.organisations.BarX]
other_names = ["Bar"]
"""


def test_the_command_packs_explains_and_names_what_is_missing(tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "dispatcher.toml").write_text(SETTINGS.format(keys=keys.directory))
    log = write(tmp_path / "tracking.log", [line(1, "FooX"), line(2, "Bar"), line(3, "FooX", "2999-01-01")])
    environ = {**os.environ, "DISPATCHER_SETTINGS": str(tmp_path / "dispatcher.toml")}

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "dispatcher", "export", "research-package", *words]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, cwd=os.getcwd())
        return done.returncode, done.stdout, done.stderr

    where = ("--from", str(log), "--to", str(tmp_path / "out"))
    code, shown, errors = run(*where)
    assert (code, errors) == (0, "")
    assert [" ".join(one.split()) for one in shown.splitlines()][:3] == [
        "3 lines",
        "2 in 2 files",
        "1 left out, outside: outside of the days that were asked for",
    ]
    [mine] = (tmp_path / "out" / "foox").rglob("*.gpg")
    assert keys.read(mine) == [line(1, "FooX")]

    assert run("--explain", f"{log}:2")[1].splitlines() == [
        "1. Its day is 2026-01-30.",
        "2. Its organisation is Bar: for BarX.",
        "3. It is in the package of BarX.",
    ]
    assert "has no table in research_package.organisations (FooX, BarX)" in run(*where, "--organisation", "MITx")[2]
    (keys.directory / "ada@foo.org").rename(keys.directory / "gone")
    try:
        code, _, errors = run(*where)
        assert (code, "ada@foo.org does not exist" in errors) == (5, True)
    finally:
        (keys.directory / "gone").rename(keys.directory / "ada@foo.org")
