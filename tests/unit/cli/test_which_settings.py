"""A command that goes wrong says whose settings it has used, and gives advice that does no harm there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOWHERE = "redis://127.0.0.1:1/0"
#: Commands that need Redis, and end.
COMMANDS = (["status"], ["dead", "list", "segment"], ["waiting", "list"], ["drain", "--timeout", "0"])


def run(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DISPATCHER_")}
    own = {"HOME": str(tmp_path), "DISPATCHER_STATE_DIRECTORY": str(tmp_path / "state")}
    return subprocess.run(
        [sys.executable, "-m", "dispatcher", *arguments],
        env=clean | own | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_shell_without_the_environment_is_told_that_it_is_in_development(tmp_path: Path, command: list[str]) -> None:
    ended = run(tmp_path, *command)

    assert ended.returncode != 0
    assert "the settings of development, since DISPATCHER_ENV is not set" in ended.stderr
    assert "DISPATCHER_ENVIRONMENT_FILE" in ended.stderr
    assert "development.toml" in ended.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nobody_is_told_to_start_another_redis_beside_a_deployment(tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "environment"
    file.write_text(f"DISPATCHER_ENV=production\nDISPATCHER_BROKER_URL={NOWHERE}\n")

    ended = run(tmp_path, *command, DISPATCHER_ENVIRONMENT_FILE=str(file))

    assert ended.returncode != 0
    assert NOWHERE.removesuffix("/0") in ended.stderr or "drain" in command
    assert "look at DISPATCHER_BROKER_URL" in ended.stderr
    assert "dispatcher up" not in ended.stderr
    assert "the environment production: " in ended.stderr
    assert str(file) in ended.stderr


def test_a_mistake_in_the_environment_file_is_an_error_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text("export DISPATCHER_ENV=hush\n")

    ended = run(tmp_path, "status", DISPATCHER_ENVIRONMENT_FILE=str(file))

    assert (ended.returncode, f"settings: {file}:1: " in ended.stderr, "hush" in ended.stderr) == (3, True, False)


def test_no_files_are_named_if_none_was_read(tmp_path: Path) -> None:
    ended = run(tmp_path, "status", DISPATCHER_ENVIRONMENT_FILE=str(tmp_path / "nothing"))

    assert (ended.returncode, "No settings were read" in ended.stderr) == (3, True)
    assert "development" not in ended.stderr


def test_settings_check_names_the_environment_file(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text("DISPATCHER_ENV=edge\n")

    ended = run(tmp_path, "settings", "check", DISPATCHER_ENVIRONMENT_FILE=str(file))

    assert "ok: environment edge" in ended.stdout
    assert f"read {file}" in ended.stdout


def test_an_event_that_waits_in_an_outbox_is_said_to_be_of_development(tmp_path: Path) -> None:
    ended = run(tmp_path, "emit", "shop.paid", "--timeout", "0.1")

    assert (ended.returncode, "since DISPATCHER_ENV is not set" in ended.stderr) == (0, True)
