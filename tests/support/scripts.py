"""Scripts of a test that run in their own process, to be killed, to fork, or to have limits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_HEAD = """
import os, resource, signal, sys, threading, time
from pathlib import Path
from tests.support.outboxes import make_outbox, make_tracker, read_root
root = Path(sys.argv[1])
"""


def run_script(code: str, root: Path, *, first: str = "") -> str:
    """Run a script, and return what it prints. It has ``root`` and the helpers of ``tests.support.outboxes``.

    Args:
        first: Code that runs before dispatcher is imported.

    Raises:
        AssertionError: It failed.
    """
    done = subprocess.run(
        [sys.executable, "-c", first + _HEAD + code, str(root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"it ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def start_script(code: str, root: Path) -> subprocess.Popen[str]:
    """Start a script. The test must end it and read its output."""
    return subprocess.Popen(
        [sys.executable, "-c", _HEAD + code, str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
