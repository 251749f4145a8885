"""JSON lines that another process may still be writing, so that the last one may be incomplete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def whole_lines(text: bytes) -> list[bytes]:
    """The lines that have a line break, without it. What follows the last line break is still being written."""
    return text.split(b"\n")[:-1]


def read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines, decoded; none if the file does not exist yet.

    For use while others write. Afterwards ``tracking_lines.read_lines`` also fails for an incomplete line.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in whole_lines(text)]
