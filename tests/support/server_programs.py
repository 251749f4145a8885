"""Every Redis and Valkey server that this machine has, for the tests of what speaks to them.

Those that ``dispatcher up`` would find, Debian's tools, and what `.ci/servers` has fetched into .servers.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from dispatcher.local.redis_server import ServerProgram, installed_servers, read_version
from tests.support.scripts import ROOT

# Holds links for as long as this process runs.
_links: Final = tempfile.TemporaryDirectory(prefix="dispatcher-servers-")


@cache
def server_programs() -> list[ServerProgram]:
    """One of each version, the oldest first."""
    found = list(installed_servers())
    tool = shutil.which("redis-check-rdb")
    if tool is not None:
        # The whole server, where it is called so.
        link = Path(_links.name) / "redis-server"
        link.symlink_to(tool)
        found += filter(None, [read_version(str(link))])
    found += filter(None, map(read_version, map(str, sorted(ROOT.glob(".servers/*/redis-server")))))
    one_each = {str(program): program for program in reversed(found)}
    return sorted(one_each.values(), key=lambda program: (program.brand, program.version))


def program_of(request: pytest.FixtureRequest) -> str | None:
    """The program that a test which is marked ``every_server`` is given; None for others."""
    program: ServerProgram | None = getattr(request, "param", None)
    return program and program.path
