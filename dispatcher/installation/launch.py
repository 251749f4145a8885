"""Launch: runs one of our modules as a program, and takes nothing from the current directory.

``python -m`` and Celery's ``-A`` look into the current directory first, where a project may have a ``tasks.py``, a
``redis.py`` or a package ``dispatcher`` of its own. This file is run by its path and with ``-P`` instead, which leaves
the current directory out and PYTHONPATH as it is.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec
from typing import Final

#: The worker's program, whose arguments are those of ``celery worker``.
WORKER: Final = "dispatcher.tasks"
#: What a program ends with that would do no better if it were started again: wrong usage, as Python and click have it.
NEVER_STARTS: Final = 2

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Folders that are links in a checkout.
_LINKS: Final = ("tasks", "settings")
# In place of a module's name: only look whether it would be found.
_CHECK: Final = "--check"
_PREFIX: Final = "dispatcher: "


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module as a program: as ``python -m`` would, but for the current directory."""
    return [sys.executable, "-P", __file__, module, *arguments]


def check() -> str | None:
    """Whether a program that is started from here would find this package. Starts Python once; blocks up to a second.

    Returns:
        One line for a person about what is in the way; None if it would.
    """
    done = subprocess.run(command(_CHECK), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else done.stderr.strip().removeprefix(_PREFIX)


def obstacle() -> str | None:
    """What keeps this process from finding the package that this file belongs to; None if nothing does."""
    found = _found()
    if found is None:
        # A checkout that was not installed. Last, so that nothing of a project is hidden by it.
        sys.path.append(os.path.dirname(_PACKAGE))
        found = _found()
    if found is None or not os.path.samefile(found, _PACKAGE):
        return (
            f"`import dispatcher` finds another package, {found}, instead of {_PACKAGE}: rename that one, or take its "
            f"directory out of PYTHONPATH"
        )
    for name in _LINKS:
        if not os.path.isdir(os.path.join(_PACKAGE, name)):
            return (
                f"{os.path.join(_PACKAGE, name)} is not a folder: this checkout was made without symbolic links. "
                "Clone it again with `git clone -c core.symlinks=true`, or install a wheel"
            )
    return None


def _found() -> str | None:
    spec = find_spec("dispatcher")
    return os.path.dirname(spec.origin) if spec is not None and spec.origin is not None else None


def main() -> None:
    """Run the module that the command line names, with the arguments behind it."""
    problem = obstacle()
    if problem is not None:
        print(f"{_PREFIX}{problem}", file=sys.stderr)
        sys.exit(NEVER_STARTS)
    del sys.argv[0]
    if sys.argv[0] == WORKER:
        # gevent replaces parts of Python itself, and has to do so before anything imports these.
        from celery import maybe_patch_concurrency  # noqa: PLC0415

        maybe_patch_concurrency(sys.argv)
    if sys.argv[0] != _CHECK:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
