"""Dispatcher inside another project, which has modules of the same names, and its own Celery and Django."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from dispatcher.installation.launch import NEVER_STARTS
from tests.support.json_lines import read_whole_lines
from tests.support.ports import free_ports
from tests.support.processes import MARK, Child, Processes, assert_none_left
from tests.support.waiting import wait_for

ROOT: Final = Path(__file__).resolve().parents[2]

#: Nobody listens there: what heeded it would never be ready.
THEIR_BROKER: Final = "redis://127.0.0.1:1/0"

#: A project as many are: Celery's own tutorial calls the file tasks.py, and sites have their settings beside it.
PROJECT: Final = {
    "tasks.py": f"from celery import Celery\napp = Celery('theirs', broker={THEIR_BROKER!r})\nWHOSE = 'theirs'\n",
    "settings.py": "WHOSE = 'theirs'\nUSE_TZ = True\nSECRET_KEY = 'theirs'\n",
    "celeryconfig.py": f"broker_url = {THEIR_BROKER!r}\n",
    "flowerconfig.py": "raise SystemExit('this is another Flower')\n",
    "shop/__init__.py": "",
    "shop/destinations.py": """
import json, os
from typing import ClassVar
import settings, tasks
from dispatcher.destinations.base import Destination, Options
from dispatcher.event import decode
from dispatcher.outcomes import Delivered


class Board(Destination[Options]):
    Options = Options

    def deliver(self, batch):
        with open(os.environ["BOARD"], "a") as file:
            for payload in batch.payloads:
                row = {"name": decode(payload).name, "tasks": tasks.WHOSE, "settings": settings.WHOSE}
                file.write(json.dumps(row) + "\\n")
        return [Delivered()] * len(batch.payloads)
""",
}
SETTINGS: Final = """
[destinations.board]
type = "shop.destinations:Board"
events = ["shop.order.*"]
"""
#: What only stands in the current directory, and would end whatever imported it.
IN_THE_WAY: Final = ("tasks", "settings", "redis", "celery", "kombu", "click", "rich", "logging", "dispatcher/__init__")


@dataclass(frozen=True)
class Installation:
    """A Python in which dispatcher is installed."""

    python: Path

    @property
    def program(self) -> Path:
        return self.python.with_name("dispatcher")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, as pip builds it from the source distribution of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(folder))
    [sdist] = folder.glob("*.tar.gz")
    return build_wheel(sdist, folder)


def build_wheel(source: Path, folder: Path) -> Path:
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", str(folder), str(source))
    [built] = folder.glob("event_dispatcher-*.whl")
    return built


def run(*command: str, cwd: Path = ROOT, environ: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A fresh environment with the wheel. What the wheel depends on is borrowed from the environment of the tests."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    offline = ("--no-index", "--no-deps", "--disable-pip-version-check", "--quiet")
    run(sys.executable, "-m", "pip", "--python", str(python), "install", *offline, str(wheel))
    [site] = (folder / "lib").glob("python*/site-packages")
    # Files of paths in these are not read, so that an editable install of this checkout is not borrowed.
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return Installation(python)


@pytest.fixture
def installation(request: pytest.FixtureRequest) -> Installation:
    """That of the wheel; that of this checkout where a test asks for it, which starts as many processes again."""
    if getattr(request, "param", "wheel") == "checkout":
        return Installation(Path(sys.executable))
    found: Installation = request.getfixturevalue("fresh")
    return found


class Project:
    """The project, with dispatcher's own state in it."""

    def __init__(self, folder: Path, installation: Installation, **environ: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.board = self.state / "board.jsonl"
        self.environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            "BOARD": str(self.board),
            MARK: str(self.state),
            **environ,
        }
        self.processes = Processes(folder / "output", self.environ, cwd=folder, program=(str(installation.program),))

    def up(self) -> Child:
        up = self.processes.dispatcher("up", "--no-flower")
        up.wait_for_output("ready:")
        return up

    def succeed(self, *arguments: str) -> str:
        done = self.processes.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short enough for the embedded Redis to have its socket in the state directory.
    folder = Path(tempfile.mkdtemp(prefix="dispatcher-in-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def project(folder: Path, installation: Installation) -> Iterator[Project]:
    """With its directory on PYTHONPATH, and variables for a Celery and a Django of its own."""
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "site.toml").write_text(SETTINGS)
    project = Project(
        folder,
        installation,
        PYTHONPATH=".",
        DISPATCHER_SETTINGS=str(folder / "site.toml"),
        CELERY_BROKER_URL=THEIR_BROKER,
        CELERY_RESULT_BACKEND=THEIR_BROKER,
        CELERY_CONFIG_MODULE="celeryconfig",
        DJANGO_SETTINGS_MODULE="settings",
    )
    yield project
    project.processes.close()
    assert_none_left(str(project.state))


@pytest.fixture
def in_the_way(folder: Path, installation: Installation) -> Iterator[Project]:
    """With modules in the current directory, and without PYTHONPATH."""
    (folder / "dispatcher").mkdir()
    for name in IN_THE_WAY:
        (folder / f"{name}.py").write_text(f"raise SystemExit('the {name} of the current directory')\n")
    project = Project(folder, installation)
    yield project
    project.processes.close()
    assert_none_left(str(project.state))


def test_wheel_and_source_distribution_hold_one_package(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    with zipfile.ZipFile(build_wheel(ROOT, tmp_path)) as archive:
        assert sorted(archive.namelist()) == sorted(names)

    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"dispatcher", "event_dispatcher"}
    tracked = run("git", "ls-files", "dispatcher", "tasks", "settings").splitlines()
    files = [name for name in tracked if (ROOT / name).is_file()]
    inside = {name if name.startswith("dispatcher/") else f"dispatcher/{name}" for name in files}
    assert {name for name in names if name.startswith("dispatcher/")} == inside
    [sdist] = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert [member.name for member in archive if member.issym() or member.islnk()] == []


def test_nothing_installed_is_called_tasks_or_settings(fresh: Installation, tmp_path: Path) -> None:
    code = """
import importlib.util, sys
import dispatcher, dispatcher.tasks, dispatcher.settings
for name in ("tasks", "settings"):
    found = importlib.util.find_spec(name)
    # A package that is borrowed, such as edx-opaque-keys, may bring one.
    for place in () if found is None else (found.origin or "", *(found.submodule_search_locations or ())):
        if place.startswith(sys.prefix):
            raise SystemExit(f"{name} is importable from {place}")
print(dispatcher.__file__)
"""
    found = Path(run(str(fresh.python), "-c", code, cwd=tmp_path, environ={}).strip())

    assert found.is_relative_to(fresh.python.parents[1])


def test_up_delivers_in_a_project_with_its_own_tasks_and_settings(project: Project) -> None:
    up = project.up()
    project.succeed("emit", "shop.order.paid", "--data", '{"order": 17}')
    [line] = wait_for(lambda: read_whole_lines(project.state / "tracking.log"), what=lambda: up.output)
    [row] = wait_for(lambda: read_whole_lines(project.board), what=lambda: up.output)

    assert line["event"] == {"order": 17}
    assert row == {"name": "shop.order.paid", "tasks": "theirs", "settings": "theirs"}
    told = json.loads(project.succeed("explain", "shop.order.paid", "--json"))
    assert {entry["destination"]: entry["goes"] for entry in told["destinations"]}["board"] is True
    found = json.loads(project.succeed("doctor", "--json", "--only", "installation", "--only", "workers"))
    assert {finding["level"] for finding in found["findings"]} == {"ok"}
    assert up.stop() == 0


def test_worker_and_flower_run_in_a_project_with_its_own_celery(project: Project) -> None:
    up = project.up()
    [port] = free_ports(1)
    worker = project.processes.dispatcher("worker", "-Q", "board", "-n", "second@%h")
    flower = project.processes.dispatcher("flower", "--port", str(port), "--basic-auth", "ops:secret")
    worker.wait_for_output(" ready.")
    assert wait_for(lambda: status(port), what=lambda: flower.output) == 401

    found = json.loads(project.succeed("doctor", "--json", "--only", "workers"))
    assert "second@" in str([finding for finding in found["findings"] if finding["check"] == "workers.queues"])
    assert [each.stop() for each in (worker, flower, up)] == [0, 0, 0]


@pytest.mark.parametrize("installation", ["wheel", "checkout"], indirect=True)
def test_nothing_is_imported_from_the_current_directory(in_the_way: Project) -> None:
    up = in_the_way.up()
    worker = in_the_way.processes.dispatcher("worker", "-n", "second@%h")
    worker.wait_for_output(" ready.")
    in_the_way.succeed("emit", "shop.order.paid")
    wait_for(lambda: read_whole_lines(in_the_way.state / "tracking.log"), what=lambda: up.output)
    in_the_way.succeed("doctor", "--only", "installation", "--only", "workers")
    in_the_way.succeed("explain", "shop.order.paid")
    assert [each.stop() for each in (worker, up)] == [0, 0]


def test_a_destination_in_the_current_directory_needs_pythonpath(project: Project) -> None:
    del project.environ["PYTHONPATH"]

    done = project.processes.run("worker")

    assert done.returncode == 3
    assert "install its package, or put its directory on PYTHONPATH" in done.stderr
    assert "settings: settings:" not in done.stderr


@pytest.mark.parametrize("command", ["worker", "up"])
def test_a_worker_that_finds_another_dispatcher_package_says_so_and_ends(folder: Path, command: str) -> None:
    """As from a checkout, which is the current directory, in an environment with another one."""
    other = folder / "other" / "dispatcher"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), MARK: str(folder), "PYTHONPATH": str(other.parent)}
    processes = Processes(folder / "output", environ)

    done = processes.run(command)
    told = json.loads(processes.run("doctor", "--json", "--only", "installation").stdout)

    line, *_ = done.stderr.splitlines()
    assert f"`import dispatcher` finds another package, {other}, instead of {ROOT / 'dispatcher'}" in line
    assert done.returncode == (NEVER_STARTS if command == "worker" else 5)
    assert [finding["level"] for finding in told["findings"] if finding["check"] == "installation.package"] == ["error"]


def status(port: int) -> int:
    """What Flower answers to somebody without its password; 0 while it does not listen yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/workers")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
