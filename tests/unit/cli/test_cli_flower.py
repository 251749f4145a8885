"""``dispatcher flower``: what it starts, and what it refuses to start with."""

from __future__ import annotations

import pytest
from celery.events.state import Task
from click.testing import CliRunner

from dispatcher.cli import main
from dispatcher.cli.flower import flower_arguments
from dispatcher.tasks.flower import on_one_line


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
