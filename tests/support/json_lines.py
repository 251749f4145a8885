"""JSON lines that somebody else may still be writing: the last one may be there by half."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def whole_lines(text: bytes) -> list[bytes]:
    """The lines that have their end, without it; what comes after the last of them is still being written."""
    return text.split(b"\n")[:-1]


def read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole so far, decoded; none where the file is not there yet.

    For a look while others write. Once they have ended, ``tracking_lines.read_lines`` lets no half line pass.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in whole_lines(text)]
