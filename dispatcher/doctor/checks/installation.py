"""Is what runs here this package, and not another one that bears its name?"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.installation import launch

PACKAGE: Final = Check(
    "installation.package",
    "Whether a worker that is started from here finds this package: another one called dispatcher, on PYTHONPATH, "
    "would run in its place.",
    "rename the other package, or take its directory out of PYTHONPATH",
)
DISTRIBUTION: Final = Check(
    "installation.distribution",
    "Whether the distribution called dispatcher is installed too: it is not this project's, and its files have the "
    "same names.",
    "run `pip uninstall dispatcher`, and install event-dispatcher again",
)

CHECKS: Final = (PACKAGE, DISTRIBUTION)

# On the index, somebody else's.
_STRANGER: Final = "dispatcher"


def look(_: Deployment) -> Iterator[Finding]:
    """Start Python once, and read what is installed."""
    yield package(launch.check())
    yield distribution(_version(_STRANGER))


def package(obstacle: str | None) -> Finding:
    return PACKAGE.ok("workers find this package") if obstacle is None else PACKAGE.error(obstacle)


def distribution(stranger: str | None) -> Finding:
    """``stranger`` is the installed version of that distribution, if any."""
    if stranger is None:
        return DISTRIBUTION.ok("no other distribution has this package's name")
    return DISTRIBUTION.warning(f"{_STRANGER} {stranger} is installed beside event-dispatcher")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
