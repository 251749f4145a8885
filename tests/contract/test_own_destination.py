"""The example of docs/how-to/own-destination.md, as a package of its own: it is found and passes the contract."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from dispatcher.tasks.destinations.http.status import outcome_of_status
from dispatcher.tasks.testing.contract.subject import fates

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "how-to" / "own-destination.md"
REFERENCE: Final = ROOT / "docs" / "reference" / "destination-interface.md"

_FENCE: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# As with nothing installed but dispatcher and pytest.
PYTEST: Final = ("pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
ALONE: Final = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

# Seconds for a program that is done in a few, on a machine with other things to do.
_PATIENCE: Final = 100


def block(start: str) -> str:
    """The only block of the page with this text in it."""
    (found,) = (body for _, body in _FENCE.findall(PAGE.read_text()) if start in body)
    return str(found)


def run(words: Sequence[str], *, cwd: Path, path: Path, **environ: str) -> str:
    """What a program prints, with modules from ``path``. Fails unless it ends well."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DISPATCHER_", "PYTEST_"))}
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd,
        env=clean | ALONE | {"PYTHONPATH": str(path), "DISPATCHER_STATE_DIRECTORY": str(cwd / "state"), **environ},
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's sources, as the page has them."""
    folder = tmp_path_factory.mktemp("dispatcher-pulse")
    (folder / "dispatcher_pulse.py").write_text(block("class PulseOptions"))
    (folder / "pyproject.toml").write_text(block("[build-system]"))
    return folder


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pip has installed the package, with its entry point."""
    target = tmp_path_factory.mktemp("site")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    run(["pip", "install", "--quiet", *offline, "--target", str(target), str(source)], cwd=target, path=target)
    return target


def test_the_example_is_short() -> None:
    assert len(block("class PulseOptions").splitlines()) < 60


def test_the_example_passes_the_contract(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "test_pulse.py").write_text(block("class TestPulse"))
    (tmp_path / "test_strictly.py").write_text(with_its_vendor(block("class TestPulse")))

    said = run([*PYTEST, "test_pulse.py", "test_strictly.py"], cwd=tmp_path, path=installed)

    counted = re.search(r"^(\d+) passed in", said, re.MULTILINE)
    assert counted is not None, said
    assert int(counted[1]) > 80


def test_the_contract_fails_for_a_destination_that_breaks_it(source: Path, tmp_path: Path) -> None:
    careless = (source / "dispatcher_pulse.py").read_text().replace("events=50", "events=60")
    (tmp_path / "dispatcher_careless.py").write_text(careless)
    test = block("class TestPulse").replace('type = "pulse"', 'type = "dispatcher_careless:Pulse"')
    (tmp_path / "test_careless.py").write_text(with_its_vendor(test))

    with pytest.raises(AssertionError, match=r"FAILED .*test_each_of_many_events_arrives_once"):
        run([*PYTEST, "-k", "many_events", "test_careless.py"], cwd=tmp_path, path=tmp_path)


@pytest.mark.parametrize(
    ("place", "shown"), [("installed", "[destinations.pulse]\nevents"), ("source", 'type = "dispatcher_pulse:Pulse"')]
)
def test_the_settings_find_the_example(place: str, shown: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """By its name where the package is installed; where only the module is, by module and class."""
    settings = tmp_path / "pulse.toml"
    settings.write_text(block(shown))
    (tmp_path / "event.json").write_text(
        '{"name": "shop.order.paid", "data": {"order": 17}, "context": {"user_id": 7}}'
    )

    said = run(
        ["dispatcher", "explain", "--with", "event.json", "--json"],
        cwd=tmp_path,
        path=request.getfixturevalue(place),
        DISPATCHER_SETTINGS=str(settings),
        DISPATCHER_DESTINATIONS__PULSE__API_KEY="hidden-api-key",
    )

    assert "https://api.pulse.example/v1/rows" in said
    assert "hidden" not in said


def with_its_vendor(test: str) -> str:
    """The test of the page, with the stand-in of the page."""
    return f"{block('class PulseVendor')}\n\n{test}\n    def vendor(self):\n        return PulseVendor()\n"


def test_each_status_means_what_the_reference_says() -> None:
    statuses = range(200, 600)

    said = {status: status_outcome(status) for status in statuses}

    assert said == {status: fates([outcome_of_status(status, label="Pulse")])[0] for status in statuses}


def status_outcome(status: int) -> str:
    """What the reference's table says of a status: its first row that names it, else the last one."""
    rows = re.findall(r"^\| (\d[^|]*) \| ([^|]*) \|$", REFERENCE.read_text(), re.MULTILINE)
    for statuses, becomes in rows:
        for first, last in re.findall(r"(\d{3})(?: to (\d{3}))?", statuses):
            if int(first) <= status <= int(last or first):
                return word_of(becomes)
    return word_of(rows[-1][1])


def word_of(becomes: str) -> str:
    found = re.search(r"`(\w+)`", becomes)
    return found[1] if found is not None else becomes
