"""Texts in SQL, as ClickHouse escapes them. Pure."""

from __future__ import annotations


def quote(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
