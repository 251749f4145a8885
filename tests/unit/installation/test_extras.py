"""What pages and messages tell people to install works, and installs our code or what an extra stands for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement

from dispatcher.installation import extras
from dispatcher.installation.extras import install_command

ROOT: Final = Path(__file__).resolve().parents[3]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: Final[dict[str, list[str]]] = PROJECT["optional-dependencies"]

#: What a page or a message may be in.
SUFFIXES: Final = {".py", ".md", ".toml", ".yaml", ".yml", ".lua", "", ".sh"}
#: A command of pip's that installs, up to its line's end or the quotation's.
_COMMAND: Final = re.compile(r"""pip3? install (?P<rest>(?:'[^'\n]*'|"[^"\n]*"|[^\s`"),;]+| (?!or\b|and\b))+)""")
#: An extra of ours, asked for by whatever name.
_WITH_EXTRA: Final = re.compile(r"(?P<what>[\w./{}-]*)\[(?P<extras>[a-z_,]+)\]$")
#: Releases that what is installed is kept to.
_CONSTRAINTS: Final = re.compile(r"(?:-c|--constraint) \S+")
#: In this repository these stand for a command that is put together when it is shown.
_COMPOSED: Final = re.compile(r"install_command\([\"'](\w+)[\"']\)")


def pages() -> Iterator[tuple[str, str]]:
    """Every text that a user can meet, by its path: pages, messages in the source, recipes."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        path = ROOT / name
        if name and not name.startswith("tests/") and path.suffix in SUFFIXES and path.is_file():
            yield name, path.read_text()


def commands() -> list[tuple[str, list[str]]]:
    """What each ``pip install`` of those texts installs, by path; options are left out."""
    return [
        (name, [word for word in shlex.split(_CONSTRAINTS.sub("", match["rest"])) if not word.startswith(("-", "$"))])
        for name, text in pages()
        for match in _COMMAND.finditer(text)
    ]


def known_packages() -> dict[str, Requirement]:
    """What pyproject.toml names, by package."""
    lines = [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]
    return {Requirement(line).name: Requirement(line) for line in lines}


def test_the_pages_are_read() -> None:
    found = {name for name, _ in commands()}

    assert {"README.md", "docs/quickstart.md", "docs/how-to/monitoring.md", "docs/how-to/mapping.md"} <= found


def test_no_page_installs_an_unrelated_package() -> None:
    """On the index ``dispatcher`` is another project, and ours is not there yet: a path, or a package that we know."""
    wrong = [(name, word) for name, words in commands() for word in words if not is_ours_or_known(word)]

    assert wrong == []


def is_ours_or_known(word: str) -> bool:
    if word.startswith((".", "/", "{_CHECKOUT}")) or word.endswith(".whl"):
        return True
    requirement = Requirement(word)
    known = known_packages().get(requirement.name)
    if known is None or known.name == "event-dispatcher":
        return False
    return not requirement.specifier or set(known.specifier) <= set(requirement.specifier)


def test_every_extra_that_a_page_names_exists() -> None:
    asked = [
        (name, extra)
        for name, words in commands()
        for word in words
        if (match := _WITH_EXTRA.search(word))
        for extra in match["extras"].split(",")
        if match["what"].startswith(".")
    ]
    asked += [(name, extra) for name, text in pages() for extra in _COMPOSED.findall(text)]

    assert {extra for _, extra in asked} >= {"embedded", "flower", "matches", "metrics"}
    assert [(name, extra) for name, extra in asked if extra not in EXTRAS] == []


def test_no_text_depends_on_a_distribution_called_dispatcher() -> None:
    """With an extra, or in the dependencies of a package of the reader's own."""
    stranger = re.compile(r"(?<![\w-])dispatcher\[[a-z]|dependencies = \[[^\]]*[\"']dispatcher\b")

    assert [name for name, text in pages() if stranger.search(text)] == []


@pytest.mark.parametrize("extra", ["embedded", "flower", "matches", "metrics", "bench"])
def test_the_command_for_an_extra_installs_the_packages_of_the_extra(extra: str) -> None:
    program, verb, *words = shlex.split(install_command(extra))

    assert [program, verb] == ["pip", "install"]
    wanted = {(found.name, found.specifier) for found in map(Requirement, EXTRAS[extra])}
    assert {(found.name, found.specifier) for found in map(Requirement, words)} == wanted


@pytest.mark.parametrize("extra", ["flower", "matches", "metrics"])
def test_pip_takes_the_command_for_an_extra(extra: str) -> None:
    """Without a network: what it asks for is here already, since the tests need it."""
    words = shlex.split(install_command(extra))[1:]
    offline = ("--dry-run", "--no-index", "--disable-pip-version-check")
    done = subprocess.run(
        [sys.executable, "-m", *("pip", *words, *offline)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "Requirement already satisfied" in done.stdout


def test_the_command_for_a_checkout_without_metadata_installs_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(_: str) -> list[str]:
        raise PackageNotFoundError

    monkeypatch.setattr(extras, "requires", requires)

    assert shlex.split(install_command("metrics")) == ["pip", "install", "-e", f"{ROOT}[metrics]"]
