"""event-routing-backends' own transformers, and Ralph, a real LRS, over HTTP: `make lrs` fetches both."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest

from tests.support.waiting import PATIENCE, wait_for

ROOT: Final = Path(__file__).resolve().parents[2]
TRANSFORMERS: Final = ROOT / ".venvs" / "event-routing-backends"
RALPH: Final = ROOT / ".venvs" / "ralph"

pytestmark = pytest.mark.skipif(
    not (TRANSFORMERS.is_dir() and RALPH.is_dir()), reason="needs event-routing-backends and Ralph: make lrs"
)

#: bcrypt's of "hidden-password".
_HASH: Final = "$2b$12$P3kOsIO4z.qfyk.o4F37Z.Evt8X7jqUVMurOPUslWqnhsCt2N9Xhe"
_USER: Final = {"name": "lrs", "account": {"name": "lrs", "homePage": "https://lms.example.org"}}


@pytest.fixture
def ralph(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Ralph's URL, and the file of its statements."""
    agent = {"objectType": "Agent", **_USER}
    user = {"username": "lrs", "hash": _HASH, "scopes": ["all"], "agent": agent}
    (tmp_path / "auth.json").write_text(json.dumps([user]))
    (tmp_path / "store").mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": str(RALPH),
        "RALPH_APP_DIR": str(tmp_path),
        "RALPH_RUNSERVER_BACKEND": "fs",
        "RALPH_BACKENDS__LRS__FS__DEFAULT_DIRECTORY_PATH": str(tmp_path / "store"),
    }
    program = str(ROOT / "tests" / "support" / "lms" / "lrs_server.py")
    with socket.create_server(("127.0.0.1", 0)) as listening, (tmp_path / "ralph.log").open("wb") as log:
        port, number = listening.getsockname()[1], listening.fileno()
        server = subprocess.Popen(
            [sys.executable, program, str(number)],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=log,
            pass_fds=[number],
        )
    try:
        wait_for(lambda: server.poll() is not None or _answers(port))
        assert server.poll() is None, (tmp_path / "ralph.log").read_text()[-2000:]
        yield f"http://127.0.0.1:{port}/xAPI", tmp_path / "store" / "fs_lrs.jsonl"
    finally:
        server.terminate()
        server.wait(PATIENCE)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/__lbheartbeat__", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def deliver(
    tmp_path: Path,
    rounds: list[list[dict[str, Any]]],
    /,
    *,
    caliper: str = "1",
    has_database: bool = True,
    **options: Any,
) -> Any:
    """What ``tests.support.lms.deliver`` says."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path), str(TRANSFORMERS)]),
        "SITE_DATABASE": str(tmp_path / "site.sqlite3"),
        "SITE_CALIPER": caliper,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.lms.deliver"],
        input=json.dumps({"options": options, "rounds": rounds, "has_database": has_database}),
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def an_event(number: int, name: str = "edx.course.enrollment.activated", **context: Any) -> dict[str, Any]:
    return {
        "id": f"event-{number}",
        "type": "event",
        "name": name,
        "timestamp": f"2026-01-02T03:04:05.{number:06}Z",
        "data": {"mode": "audit", "note": "Grüße 🎉"},
        "context": {"user_id": 1 + number % 3, "course_id": "course-v1:Org+C1+R1", "session": "a1", **context},
    }


def test_ralph_gets_each_statement_once(ralph: tuple[str, Path], tmp_path: Path) -> None:
    url, file = ralph
    events = [an_event(number) for number in range(230)]
    left_out = [
        an_event(901, "not.allowed"),
        an_event(902, "not.transformed"),
        an_event(903, user_id=77),
        an_event(904, user_id=""),
    ]
    # A retry of everything, beside something new.
    rounds = [[*events, *left_out], [*events[200:], an_event(500)]]
    said = deliver(tmp_path, rounds, url=url, username="lrs", password="hidden-password")

    assert said["fates"] == [
        ["delivered"] * 230 + ["no_transformer", "no_transformer", "transform", "unidentified"],
        ["delivered"] * 31,
    ]
    stored = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({each["id"] for each in stored}) == len(stored) == 231
    # What they would have sent, with their ids.
    theirs = [statement for found in said["theirs"] if found for statement in found]
    assert {each["id"] for each in theirs} <= {each["id"] for each in stored}
    assert said["previews"][:230] == said["theirs"][:230]


def test_a_statement_of_the_same_id_holds_up_no_other(ralph: tuple[str, Path], tmp_path: Path) -> None:
    url, file = ralph
    events = [an_event(number) for number in range(20)]
    # The id follows from actor, verb and time: another course makes other contents of the same id.
    other = {**an_event(7), "context": {**an_event(7)["context"], "course_id": "course-v1:Org+C2+R1"}}
    said = deliver(tmp_path, [[other], events], url=url, username="lrs", password="hidden-password")

    assert said["fates"] == [["delivered"], ["delivered"] * 20]
    stored = [json.loads(line) for line in file.read_text().splitlines()]
    assert len({each["id"] for each in stored}) == len(stored) == 20
    assert stored[0]["object"]["id"].endswith("course-v1:Org+C2+R1")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/xAPI"

    assert "lms.absent" in deliver(tmp_path, [[]], url=url, django_settings="lms.absent")["missing"]
    off = deliver(tmp_path, [[]], url=url, format="caliper", caliper="0")["missing"]
    assert "CALIPER_EVENTS_ENABLED is off" in off


def test_events_wait_while_the_database_cannot_be_asked(tmp_path: Path) -> None:
    events = [an_event(number) for number in range(5)]
    said = deliver(tmp_path, [[*events, an_event(6, "not.allowed")]], has_database=False, url="http://127.0.0.1:9/xAPI")

    # The last one is not looked at any more: what is asked for the others is away.
    assert said["fates"] == [["transient"] * 6]
