"""constraints.txt: everything that any extra needs, in releases that pyproject.toml takes, and no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
NEEDED = [*PROJECT["dependencies"], *(line for extra in PROJECT["optional-dependencies"].values() for line in extra)]


def test_each_line_is_one_package_in_one_release():
    """No index, no file of this machine, no editable installation."""
    assert [line for line in LINES if not re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.+!]*", line)] == []
    names = [canonicalize_name(line.partition("==")[0]) for line in LINES]
    assert names == sorted(set(names))


def test_everything_that_is_needed_is_there_in_a_release_that_is_taken():
    pinned = {canonicalize_name(line.partition("==")[0]): line.partition("==")[2] for line in LINES}
    needed = [found for found in map(Requirement, NEEDED) if found.name != PROJECT["name"]]

    assert [str(found) for found in needed if canonicalize_name(found.name) not in pinned] == []
    assert [str(found) for found in needed if pinned[canonicalize_name(found.name)] not in found.specifier] == []
