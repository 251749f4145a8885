"""Spelling: what an unknown word was most likely meant to be."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was most likely meant; None if none is near.

    A candidate that begins with the word and an underscore goes before one that differs by a typo.
    """
    candidates = list(candidates)
    longer = [candidate for candidate in candidates if candidate.startswith(f"{word}_")]
    close = longer[:1] or get_close_matches(word, candidates, n=1)
    return close[0] if close else None
