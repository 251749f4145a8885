"""JSON arrays: bodies of requests that are an array of items, each encoded already."""

from __future__ import annotations

from collections.abc import Sequence


def json_array(items: Sequence[bytes]) -> bytes:
    """The items as one array."""
    return b"[" + b",".join(items) + b"]"


def json_array_bytes(count: int, items_bytes: int) -> int:
    """The size of an array of so many items, at least one, that have so many bytes together."""
    return items_bytes + count + 1
