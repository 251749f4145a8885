"""docker/systemd: the units run our commands, and each user can write where its unit has to."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.cli.main import main

FILES = Path(__file__).parents[3] / "docker" / "systemd"
UNITS = sorted(FILES.glob("*.service"))
TMPFILES = FILES / "dispatcher.tmpfiles.conf"
SYSUSERS = FILES / "dispatcher.sysusers.conf"
WEB_USER = "www-data"


def service(unit: Path) -> dict[str, str]:
    parser = ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(unit.read_text())
    return dict(parser["Service"])


def directories() -> dict[str, tuple[str, str, str]]:
    """Mode, user and group of each directory that is made."""
    rows = [line.split() for line in TMPFILES.read_text().splitlines() if line.startswith("d ")]
    return {path: (mode, user, group) for _, path, mode, user, group in rows}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_exists(unit: Path) -> None:
    program, command, *options = shlex.split(service(unit)["ExecStart"].replace("%%", "%"))

    assert Path(program).name == "dispatcher"
    main.commands[command].make_context(command, options, auto_envvar_prefix=None, resilient_parsing=True)
    assert {name for name in options if name.startswith("-")} <= {
        name for parameter in main.commands[command].params for name in parameter.opts
    }


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_no_unit_takes_a_directory_from_another_user(unit: Path) -> None:
    settings = service(unit)

    assert not [key for key in settings if key.endswith("Directory")]
    for path in settings.get("ReadWritePaths", "").split():
        assert directories()[path][1] == settings["User"], path


def test_the_files_of_production_are_where_their_user_can_write() -> None:
    settings = config.load({"DISPATCHER_ENV": "production"})
    made = directories()
    log = Path(str(settings.destinations["tracking_log"].options["path"]))

    assert made[str(settings.outbox_directory)] == ("2750", WEB_USER, "dispatcher")
    assert made[str(settings.state_directory / "dead")][1] == "dispatcher"
    assert made[str(log.parent)][1] == "dispatcher"
    # Both users are below it, so it belongs to neither.
    assert made[str(settings.state_directory)][1] == "root"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="install systemd, which checks units")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    text = re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", unit.read_text())
    copy = tmp_path / unit.name.replace("@", "@segment")
    copy.write_text(text)

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True, check=False
    )

    ours = [line for line in checked.stderr.splitlines() if "dispatcher" in line]
    assert (checked.returncode, ours) == (0, [])


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None,
    reason="install systemd, and run as root",
)
def test_systemd_makes_the_users_and_the_directories(tmp_path: Path) -> None:
    for folder in ("etc", "var/lib", "var/log"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n"
    )
    (tmp_path / "etc/group").write_text("root:x:0:\nadm:x:4:\nwww-data:x:33:\n")

    for command in (["systemd-sysusers", SYSUSERS], ["systemd-tmpfiles", "--create", TMPFILES]):
        program, *rest = command
        subprocess.run([program, f"--root={tmp_path}", *rest], check=True, capture_output=True)

    users = {row.split(":")[0]: row.split(":") for row in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {row.split(":")[0]: row.split(":") for row in (tmp_path / "etc/group").read_text().splitlines()}
    assert groups["dispatcher"][3] == WEB_USER
    for path, (mode, user, group) in directories().items():
        made = (tmp_path / path.lstrip("/")).stat()
        found = (f"{made.st_mode & 0o7777:04o}", made.st_uid, made.st_gid)
        assert found == (mode, int(users[user][2]), int(groups[group][2])), path
