"""What ``dispatcher doctor`` prints of its findings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dispatcher.cli import main


@pytest.fixture
def deployment(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment with warnings in areas behind those with errors: no Redis, and outboxes that all may read."""
    (own_state / "outbox").mkdir(parents=True)
    (own_state / "outbox").chmod(0o755)
    monkeypatch.setenv("DISPATCHER_BROKER_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "ops:ops")
    monkeypatch.setenv("COLUMNS", "200")


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--quick", *arguments], catch_exceptions=False)


@pytest.mark.usefixtures("deployment")
def test_problems_are_shown_alone_and_the_errors_last() -> None:
    everything, problems = doctor(), doctor("--problems")

    marks = [line.split()[0] for line in problems.output.splitlines() if line[:3] in ("  !", "  ✗", "  ✓", "  ·")]
    assert set(marks) == {"!", "✗"}
    assert marks == sorted(marks)
    assert problems.exit_code == everything.exit_code == 1
    # The last line counts all of them, shown or not.
    assert problems.output.splitlines()[-1] == everything.output.splitlines()[-1]


@pytest.mark.usefixtures("deployment")
def test_problems_as_json_are_those_of_the_whole_list() -> None:
    everything, problems = json.loads(doctor("--json").output), json.loads(doctor("--json", "--problems").output)

    assert problems["counts"] == everything["counts"]
    assert [finding["level"] for finding in problems["findings"]] == (
        ["warning"] * everything["counts"]["warning"] + ["error"] * everything["counts"]["error"]
    )
