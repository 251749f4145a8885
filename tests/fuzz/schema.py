"""Schema: requests that schemathesis makes from the OpenAPI description of a target."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Final

#: What is looked at. That bad input is taken is no finding: one odd value spoils nothing else, by design, and of what a
#: client sends beside the description nothing is asked.
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "positive_data_acceptance",
    "unsupported_method",
    "allow_header_conformance",
)
# The description cannot say that the text of a pixel has to be JSON in base64.
_PIXEL: Final = "/v1/pixel/{type}"
_PIXEL_CHECKS: Final = tuple(check for check in CHECKS if check != "positive_data_acceptance")
_FAILURE: Final = re.compile(r"^\d+\. Test Case ID", re.MULTILINE)
_TITLE: Final = re.compile(r"^_+ (.+) _+$", re.MULTILINE)


def is_installed() -> bool:
    """Whether schemathesis is there: ``pip install -e '.[fuzz]'``."""
    return importlib.util.find_spec("schemathesis") is not None


def run_schemathesis(port: int, *, seed: int, seconds: float, headers: Sequence[str]) -> Iterator[str]:
    """Run it until its time is over. Blocks.

    Args:
        port: Of the target, on this machine.
        seed: Of its choices.
        seconds: How long it asks.
        headers: Of each request, as ``Name: value``.

    Returns:
        What is wrong, each with the request that shows it.
    """
    # Checks cannot be left out for one path only.
    for checks, paths in ((CHECKS, ("--exclude-path", _PIXEL)), (_PIXEL_CHECKS, ("--include-path", _PIXEL))):
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json", *paths]
        command += ["--checks", ",".join(checks), "--seed", str(seed), "--max-time", str(max(1, int(seconds / 2)))]
        command += ["--warnings", "off", "--no-color", "--suppress-health-check", "all"]
        for header in headers:
            command += ["--header", header]
        # It keeps examples of earlier runs where it runs.
        with tempfile.TemporaryDirectory() as directory:
            done = subprocess.run(
                command, cwd=directory, capture_output=True, text=True, timeout=seconds + 300, check=False
            )
        if done.returncode != 0:
            parts = _TITLE.split(done.stdout)
            stories = zip(parts[1::2], parts[2::2], strict=True)
            found = [f"{title}: {text.strip()}" for title, text in stories if _FAILURE.search(text)]
            yield from found or [f"schemathesis ended with {done.returncode}: {(done.stderr or done.stdout)[-2_000:]}"]
