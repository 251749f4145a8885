"""Written JSON: read so that nothing is lost, and written again as it was: with its spaces, and its escapes."""

from __future__ import annotations

import json
from typing import Any


def read(text: str | bytes) -> Any:
    """JSON, also as Python's logger writes it. Raises ValueError, RecursionError."""
    return json.loads(text)


def write_like(before: str, value: Any) -> str:
    """A value as JSON, as that was written in whose place it stands: by Python's logger, or without spaces."""
    is_spaced = '": ' in before
    is_ascii = before.isascii()
    return json.dumps(value, ensure_ascii=is_ascii, separators=(", ", ": ") if is_spaced else (",", ":"))
