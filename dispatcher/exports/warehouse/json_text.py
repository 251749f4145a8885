"""JSON text of a log's events: as strict as Python's own, which wrote it."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

_decode: Final = msgspec.json.Decoder().decode


def parse_json(text: str | None) -> Any:
    """The value of JSON text, of Python's too, whose NaN becomes null. Other text stays text."""
    if text is None:
        return None
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        pass
    try:
        return json.loads(text, parse_constant=_null)
    except (ValueError, RecursionError):
        return text


def _null(_: str) -> None:
    """NaN and Infinity, which JSON has not."""
