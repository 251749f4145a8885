"""The environment file: read as systemd reads it, under what is set already, never quoted in errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.config import environment_file
from dispatcher.config.environment_file import parse_environment, with_environment_file
from dispatcher.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("A=1\nB=2", {"A": "1", "B": "2"}),
        ("# A=1\n; B=2\n\n   \n  # C=3\nD=4", {"D": "4"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=", {"A": ""}),
        (" A = 1 2 \t\n", {"A": "1 2"}),
        ("A=one # two", {"A": "one # two"}),
        ("A='one # \"two\" \\'\n", {"A": 'one # "two" \\'}),
        ('A="one \\"two\\" \\\\ \\$x \\n" \n', {"A": 'one "two" \\ $x \\n'}),
        ('A="one\ntwo"\nB=1', {"A": "one\ntwo", "B": "1"}),
        ("A=one\\\ntwo\nB=1", {"A": "onetwo", "B": "1"}),
        ("A=one\\ two\\\\", {"A": "one two\\"}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("URL=redis://:p%40ss=w@host:6379/0?a=b", {"URL": "redis://:p%40ss=w@host:6379/0?a=b"}),
        ('JSON={"a": ["b"]}', {"JSON": '{"a": ["b"]}'}),
        ("", {}),
    ],
)
def test_a_file_is_read_as_systemd_reads_it(text: str, variables: dict[str, str]) -> None:
    assert parse_environment(text, "file") == variables


@pytest.mark.parametrize(
    "line", ["export A=hush", "hush", "A hush", "1A=hush", "A='hush", 'A="hush', "=hush", "A='hush' hush", "é=hush"]
)
def test_a_line_that_is_no_assignment_is_named_by_its_number(line: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_environment(f"# settings\nB=1\n{line}\nC=2\n", "/etc/file")

    assert [problem.split(" ")[0] for problem in raised.value.problems] == ["/etc/file:3:"]
    assert "hush" not in str(raised.value)


def test_what_is_set_already_stays(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text("\ufeffDISPATCHER_ENV=production\nDISPATCHER_WORKER__CONCURRENCY=7\n", encoding="utf-8")
    environ = {"DISPATCHER_ENVIRONMENT_FILE": str(file), "DISPATCHER_WORKER__CONCURRENCY": "9"}

    assert with_environment_file(environ) == {**environ, "DISPATCHER_ENV": "production"}


@pytest.mark.parametrize("make", [lambda _: None, Path.mkdir, lambda path: path.write_bytes(b"A=\xff")])
def test_a_file_that_was_named_must_be_readable(tmp_path: Path, make: object) -> None:
    file = tmp_path / "environment"
    make(file)  # type: ignore[operator]

    with pytest.raises(SettingsError, match=str(file)):
        with_environment_file({"DISPATCHER_ENVIRONMENT_FILE": str(file)})


def test_the_settings_of_a_process_come_from_the_default_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "environment"
    file.write_text("DISPATCHER_ENV=edge\n")
    monkeypatch.setattr(environment_file, "DEFAULT_FILE", file)
    monkeypatch.delenv("DISPATCHER_ENV", raising=False)

    assert config.load().environment == "edge"
    assert config.source_files()[1].name == "edge.toml"
    # Another environment, and the same one again after the file has changed: a process keeps what it began with.
    assert config.load({"HOME": str(tmp_path)}).environment == "development"
    origin = config.load().origin
    file.write_text("DISPATCHER_ENV=production\n")
    assert origin is not None
    assert origin.load().environment == "edge"


_LOAD_AS_OTHER = """
import os, sys
from pathlib import Path
from dispatcher import config
from dispatcher.config import environment_file
environment_file.DEFAULT_FILE = Path(sys.argv[1])
os.setgroups([]), os.setgid(54321), os.setuid(54321)
try:
    print(config.load().environment)
except config.loading.SettingsError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
@pytest.mark.parametrize("chosen", ["edge", None])
def test_a_default_file_of_other_users_is_passed_over_if_the_environment_is_chosen(
    tmp_path: Path, chosen: str | None
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "environment").write_text("DISPATCHER_ENV=production\n")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DISPATCHER_")} | {"HOME": "/"}

    loaded = subprocess.run(
        [sys.executable, "-c", _LOAD_AS_OTHER, str(closed / "environment")],
        env=environ | ({"DISPATCHER_ENV": chosen} if chosen else {}),
        capture_output=True,
        text=True,
        check=True,
    )

    assert loaded.stdout.strip() == chosen if chosen else "cannot be read: Permission denied" in loaded.stdout
