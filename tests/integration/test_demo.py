"""The demo, from its start until nothing of it runs any more."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode
from functools import partial
from pathlib import Path

import pytest

from dispatcher.local.demo import browser
from tests.support.waiting import PATIENCE

#: A click in the page, where there is a browser.
CLICKS = 0 if browser.missing_parts() else 1
#: One visitor in three of sixty does not buy.
LOGGED = 3 * 60 + 60 + 40 + CLICKS
TO_SEGMENT = 60 + 60 + 40 + CLICKS

COMMAND = [sys.executable, "-m", "dispatcher.local.demo"]


def processes_over(directory: Path) -> dict[int, str]:
    """The command lines of all processes that keep their state in this directory."""
    wanted = f"DISPATCHER_STATE_DIRECTORY={directory}".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "demo"


def run(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--directory", str(directory), *arguments],
        # A developer's own settings do not affect it.
        env={**os.environ, "DISPATCHER_BROKER_URL": "redis://127.0.0.1:1/0", "COLUMNS": "100", **environ},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_event_of_the_shop_lands_where_it_should_and_no_process_is_left(directory):
    outcome = run(directory)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert outcome.stderr == ""
    assert processes_over(directory) == {}
    lines, messages = json_lines(directory / "tracking.log"), json_lines(directory / "segment-stub.jsonl")
    assert len({line["context"]["event_id"] for line in lines}) == len(lines) == LOGGED
    assert len({message["messageId"] for message in messages}) == len(messages) == TO_SEGMENT
    assert f"{LOGGED} events emitted, {LOGGED} lines in the tracking log, each once" in outcome.stdout
    assert f"{TO_SEGMENT} of them are for Segment, {TO_SEGMENT} messages there, each once" in outcome.stdout
    assert "What to try next" in outcome.stdout
    clicks = [line for line in lines if line["name"] == browser.NAME]
    assert [(line["event_source"], line["context"]["event_id"]) for line in clicks] == [
        ("browser", message["messageId"]) for message in messages if message.get("event") == browser.NAME
    ]
    assert len(clicks) == CLICKS


def test_the_page_of_the_docs_is_that_of_the_demo():
    page = (Path(browser.__file__).with_name("page.html")).read_text()
    assert len(page.splitlines()) == 10
    docs = (Path(__file__).parents[2] / "docs/how-to/browser.md").read_text()
    assert f"```html\n{page.replace('COLLECTOR', '')}```" in docs


def test_a_file_of_recorded_events_is_emitted_too_and_each_refused_line_is_named(directory, tmp_path):
    moment = "2026-01-31T12:00:00+00:00"
    context = {"username": "ada", "user_id": 1, "session": "s", "event_source": "browser", "course_id": "c"}
    records = [
        {"name": "edx.course.enrollment.activated", "data": {"mode": "audit"}, "context": context, "timestamp": moment},
        {"name": "edx.course.enrollment.mode_changed", "data": {}, "context": context, "timestamp": moment},
        # A browser event whose data is the text of a form.
        {"name": "problem_graded", "data": "input_1=a&input_2=b", "context": context, "timestamp": moment},
        {"name": "video[bold]", "data": {}, "context": context, "timestamp": moment, "id": "their-own"},
    ]
    source = tmp_path / "recorded.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records) + "not an event\n")

    outcome = run(directory, DEMO_EVENTS=str(source))

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    shown = outcome.stdout
    assert "recorded.jsonl:5: " in shown
    assert f"{LOGGED + 4} events emitted, {LOGGED + 4} lines in the tracking log, each once" in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()}
    assert rows["edx.course.enrollment.activated"] == ["1", "1", "1", "edx.course.enrollment.*"]
    assert rows["edx.course.enrollment.mode_changed"][:3] == ["1", "1", "-"]
    assert rows["problem_graded"] == ["1", "1", "-", "not", "on", "its", "list"]
    assert rows["video[bold]"][:3] == ["1", "1", "-"]
    logged = {line["context"]["event_id"]: line for line in json_lines(directory / "tracking.log")}
    assert logged["their-own"]["time"] == moment


def test_an_interrupted_demo_stops_everything_and_says_so(directory):
    process = subprocess.Popen(
        [*COMMAND, "--directory", str(directory)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A shell makes background processes ignore SIGINT, and the tests may run in the background.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + PATIENCE
    # The demo itself has no state directory in its variables: this is `dispatcher up`, its Redis or its worker.
    while len(processes_over(directory)) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=2 * PATIENCE)

    assert process.returncode == 130, shown
    assert "interrupted" in shown
    assert processes_over(directory) == {}


def test_a_demo_that_stays_leaves_the_board_open_until_ctrl_c(directory):
    process = subprocess.Popen(
        [*COMMAND, "--directory", str(directory)],
        env={**os.environ, "DEMO_STAY": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        shown = ""
        # Each line comes, or the process ends, and the text with it.
        for line in process.stdout:
            shown += line
            if line.strip().startswith("The board: "):
                break
        found = re.search(r"The board: (http://\S+) \(user (\S+), password (\S+)\)", shown)
        assert found is not None, shown
        login = b64encode(f"{found[2]}:{found[3]}".encode()).decode()
        connection = http.client.HTTPConnection(found[1].removeprefix("http://"), timeout=60)
        connection.request("GET", "/api/ledger", headers={"Authorization": f"Basic {login}"})
        ledger = json.load(connection.getresponse())
        connection.close()
        assert ledger["closes"]
        assert {one["name"]: one["delivered"] for one in ledger["destinations"]} == {
            "tracking_log": LOGGED,
            "segment": TO_SEGMENT,
        }
    finally:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=100)
    assert process.returncode == 0, shown + rest
    assert "everything is stopped" in rest
    assert processes_over(directory) == {}


def test_a_directory_of_something_else_is_left_alone(directory):
    directory.mkdir()
    (directory / "thesis.txt").write_text("years of work")

    outcome = run(directory)

    assert outcome.returncode == 1
    assert "left alone" in outcome.stdout
    assert (directory / "thesis.txt").read_text() == "years of work"
