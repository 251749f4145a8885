"""No test fails because a machine is slow: none says that something was fast, and each waits for a minute at least."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

TESTS = Path(__file__).resolve().parents[2]
ROOMS = ("contract", "edge", "integration", "simulator", "support", "unit")

# An assertion whose left side is a time that has passed. ``soon`` is for what must not hang.
FAST = re.compile(r"assert .*?(?:(?:monotonic|perf_counter|\btime)\(\) - \w+|\b(?:took|elapsed|lasted)\b) <")
# The seconds of a wait for what is sure to come. Fractions of one are for what will not come.
WAIT = re.compile(
    r"(?:(?<!\")\btimeout=|\.(?:join|settimeout|communicate)\(|(?<!throttle)\.wait\(|assert \w+\.flush\()"
    r"([1-9][0-9.]*)\b(?! \*)"
)


def mistakes(text: str) -> list[str]:
    """The lines of a test that would fail on a slow machine."""
    return [
        line.strip()
        for line in text.splitlines()
        if FAST.search(line) or any(float(found) < PATIENCE for found in WAIT.findall(line))
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_no_test_fails_on_a_slow_machine(room: str) -> None:
    found = {
        f"{file.relative_to(TESTS)}: {line}"
        for file in (TESTS / room).rglob("*.py")
        if file != Path(__file__) and file.name != "waiting.py"
        for line in mistakes(file.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(
    "line",
    [
        "assert time.monotonic() - began < 4",
        "    assert 0.25 < monotonic() - began < 1.5",
        'assert took < 2.0, f"it took {took:.2f} s to end"',
        "child.succeed(timeout=30)",
        "thread.join(5)",
        "assert dispatcher.flush(10)",
        "assert done.wait(5.5)",
    ],
)
def test_a_mistake_would_be_found(line: str) -> None:
    assert mistakes(line) == [line.strip()]
