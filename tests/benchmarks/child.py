"""Child: runs a measurement in its own process, undisturbed by imports, threads or garbage of others.

All processes that it starts belong to its session, and end with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path
from typing import Final

from tests.benchmarks.beside import HERE, Checkout
from tests.benchmarks.place import Place
from tests.benchmarks.step import Result, Step

# Lines of a failed child's output that are shown.
_TAIL_LINES: Final = 15


def run(step: Step, *, checkout: Checkout = HERE) -> Result:
    """Call ``measure(place, **arguments)`` of a step in a new process. Errors there are returned, not raised.

    Args:
        checkout: The code that is measured.

    Returns:
        Its result; ``{"not_installed": MODULE}`` if a package is missing; for other errors ``{"failed": TEXT}`` and the
        end of its ``output``.
    """
    place = Place(Path(tempfile.mkdtemp(prefix="bench-")))
    measure = step.measure
    command = [checkout.python, "-m", __name__, str(place.directory), measure.__module__, measure.__qualname__]
    output = place.directory / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, json.dumps(step.arguments)],
            cwd=checkout.directory,
            env=place.environ() | step.environ,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        process.wait(step.timeout_seconds)
        answer: Result = json.loads((place.directory / "result.json").read_bytes())
        return answer
    except subprocess.TimeoutExpired:
        return {"failed": f"it took more than {step.timeout_seconds:g} s", "output": _tail(output)}
    except (OSError, ValueError):  # it has left no result, or half of one
        return {"failed": f"it ended with {process.returncode}", "output": _tail(output)}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(place.directory, ignore_errors=True)


def _tail(output: Path) -> str:
    return "\n".join(output.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


def _main(directory: str, module: str, name: str, arguments: str) -> None:
    place = Place(Path(directory))
    try:
        result: Result = getattr(import_module(module), name)(place, **json.loads(arguments))
    except ModuleNotFoundError as error:
        result = {"not_installed": error.name}
    except Exception as error:
        result = {"failed": f"{type(error).__name__}: {error}", "output": traceback.format_exc()}
    unfinished = place.directory / "result.part"
    unfinished.write_text(json.dumps(result))
    unfinished.rename(place.directory / "result.json")
    sys.stdout.flush()
    # Without waiting for queues and outboxes, which are deleted with the directory.
    os._exit(0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
