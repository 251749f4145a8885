"""Another user: a program that may not read what this test keeps private, as on a host with several users."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

#: A number that no user has here.
_OTHER_USER = 54_321


def keep_private(path: Path) -> tuple[str, ...]:
    """Have a file, or a directory with all in it, belong to a user whom the programs of the test may not look at.

    Root may read everything, so what root's tests run has to give that right up; another user's test takes the right to
    read from itself.

    Returns:
        What a command line has to begin with; nothing where the test is not run by root.
    """
    if os.geteuid() != 0:
        path.chmod(0)
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv of util-linux is not installed")
    for place in (path, *path.rglob("*")):
        os.chown(place, _OTHER_USER, _OTHER_USER)
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
