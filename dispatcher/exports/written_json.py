"""Written JSON: read so that nothing is lost, and written again as it was: with its spaces, and its escapes."""

from __future__ import annotations

import json
import re
from typing import Any, Final

# A key, and what stands between it and its value.
_KEY: Final = re.compile(r'"(?:[^"\\]|\\.){0,256}":( ?)')


def read(text: str | bytes) -> Any:
    """JSON, also as Python's logger writes it. Raises ValueError, RecursionError."""
    return json.loads(text)


def write_like(before: str, value: Any) -> str:
    """A value as JSON, as that was written in whose place it stands: by Python's logger, or without spaces."""
    key = _KEY.search(before)
    is_spaced = ", " in before if key is None else bool(key[1])
    return json.dumps(value, ensure_ascii=before.isascii(), separators=(", ", ": ") if is_spaced else (",", ":"))
