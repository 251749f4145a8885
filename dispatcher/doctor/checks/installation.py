"""Does this machine run this package, and not another one with its name?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.installation import launch
from dispatcher.installation.versions import bad_releases, installed_versions

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
VERSIONS: Final = Check(
    "installation.versions",
    "Which releases run here, and whether one of them is known to be bad.",
    "install the release that is named, and start workers and web apps again",
)

CHECKS: Final = (PACKAGE, DISTRIBUTION, VERSIONS)

# A distribution of somebody else on the package index.
_UNRELATED: Final = "dispatcher"


def check(_: Deployment) -> Iterator[Finding]:
    """Start Python once, and read what is installed."""
    yield package(launch.check())
    yield distribution(_version(_UNRELATED))
    yield from versions(installed_versions())


def package(obstacle: str | None) -> Finding:
    return PACKAGE.ok("workers find this package") if obstacle is None else PACKAGE.error(obstacle)


def distribution(unrelated: str | None) -> Finding:
    """``unrelated`` is the installed version of the distribution called dispatcher, if any."""
    if unrelated is None:
        return DISTRIBUTION.ok("no other distribution has this package's name")
    return DISTRIBUTION.warning(f"{_UNRELATED} {unrelated} is installed beside event-dispatcher")


def versions(installed: Mapping[str, str]) -> Iterator[Finding]:
    """``installed`` is what runs here: versions by name."""
    bad_ones = bad_releases(installed)
    for bad in bad_ones:
        yield VERSIONS.error(
            f"{bad.name} {bad.version} is known to be bad: {bad.fault} ({bad.source}). {bad.remedy} is not"
        )
    if not bad_ones:
        yield VERSIONS.ok(", ".join(f"{name} {number}" for name, number in installed.items()))


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
