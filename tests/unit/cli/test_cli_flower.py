"""``dispatcher flower``: what it starts, and what it refuses to start with."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from celery.events.state import Task
from click.testing import CliRunner

from dispatcher.cli import main
from dispatcher.cli.flower import flower_arguments
from dispatcher.installation.launch import NEVER_STARTS
from dispatcher.tasks.flower import drop_unreadable, explain_start, on_one_line


@pytest.mark.parametrize("login", ["", "ops", "ops:", ":secret", "ops:secret,", "ops:secret,guest"])
def test_flower_does_not_start_without_a_user_and_a_password(login: str):
    outcome = CliRunner().invoke(main, ["flower", "--basic-auth", login])

    assert outcome.exit_code == 2
    assert "user:password" in outcome.output


def test_the_password_is_not_in_the_arguments(monkeypatch: pytest.MonkeyPatch):
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda _, arguments: started.append(arguments))
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "")

    outcome = CliRunner().invoke(main, ["flower", "--basic-auth", "ops:hidden"])

    assert outcome.exit_code == 0
    assert "hidden" not in " ".join(started[0])


def test_flower_starts_for_this_machine_only_read_only_and_with_limits():
    arguments = flower_arguments(address="127.0.0.1", port=5555)

    assert "--address=127.0.0.1" in arguments
    assert "--read_only=True" in arguments
    assert "--max_tasks=20000" in arguments
    assert "--persistent=False" in arguments
    assert any(one.startswith("--purge_offline_workers=") for one in arguments)
    columns = next(one for one in arguments if one.startswith("--tasks_columns=")).partition("=")[2].split(",")
    assert {"args", "retries", "exception", "eta"} <= set(columns)


def test_the_due_time_stays_on_one_line_of_the_page():
    task = on_one_line(Task("segment.1", eta="2026-01-31 12:30:05Z"))

    assert "-" not in task.eta
    assert " " not in task.eta
    assert on_one_line(Task("segment.1")).eta is None


@pytest.mark.parametrize(
    "name", ["PORT", "DEBUG", "MAX_TASKS", "FORMAT_TASK", "INSPECT_TIMEOUT", "XHEADERS", "BROKER_API"]
)
@pytest.mark.parametrize("value", ["tcp://10.0.0.1:5555", "rubbish", " "])
def test_a_variable_that_flower_cannot_read_is_left_out_and_named_without_its_value(name: str, value: str):
    environ = {f"FLOWER_{name}": value, "FLOWER_URL_PREFIX": "flower", "FLOWER_NOTHING": "x"}

    lines = drop_unreadable(environ)

    assert environ == {"FLOWER_URL_PREFIX": "flower", "FLOWER_NOTHING": "x"}
    if name == "PORT" and value.startswith("tcp"):
        assert lines == [], "a service named flower is nobody's mistake"
    else:
        assert [line.partition(" ")[0] for line in lines] == [f"FLOWER_{name}"]
        assert value.strip() not in lines[0] or not value.strip()


def test_what_flower_can_read_stays():
    environ = {"FLOWER_PORT": "5556", "FLOWER_DEBUG": "true", "FLOWER_TASK_RUNTIME_METRIC_BUCKETS": "0.1,2"}

    assert drop_unreadable(environ) == []
    assert environ["FLOWER_PORT"] == "5556"


def test_a_value_that_flower_cannot_start_with_is_one_line_without_a_traceback():
    environ = {
        **os.environ,
        "FLOWER_BASIC_AUTH": "ops:pa55word",
        "FLOWER_TASK_RUNTIME_METRIC_BUCKETS": "3,2,1",
        "DISPATCHER_STORE_URL": "redis://127.0.0.1:1/0",
    }
    command = [sys.executable, "-m", "dispatcher.tasks.flower", "--port=0"]

    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)

    assert ended.returncode == NEVER_STARTS
    assert ended.stderr.splitlines()[-1].startswith("Flower does not start (ValueError: ")
    assert ended.stderr.endswith("mend or take away one of these: FLOWER_TASK_RUNTIME_METRIC_BUCKETS\n")
    assert "Traceback" not in ended.stderr
    assert "pa55word" not in ended.stderr


def test_a_port_in_use_is_said_with_the_option_that_takes_another():
    line = explain_start(OSError(errno.EADDRINUSE, "Address already in use"), {})

    assert "which is in use" in line
    assert "--port" in line
